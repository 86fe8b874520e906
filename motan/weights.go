package motan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Motan's framework service by which a server tells its clients what changes while
// it runs.
const (
	metaService = "com.weibo.api.motan.runtime.meta.MetaService"
	metaMethod  = "getDynamicMeta"
	metaWeight  = "META_WEIGHT"
)

// SetWeight tells the clients that balance by weight which share of the calls this
// server wants, from 1 to 500, in place of the weight in the registry; 0 and less
// tell nothing. They ask every few seconds. A server that is to be relieved takes
// less before it has to refuse.
func (s *Server) SetWeight(weight int) { s.weight.Store(int64(min(weight, 500))) }

// WeightDial is the name of the dial by which operators and control loops lower the
// share of the calls that every server under a Watchman wants: 1, its default, is
// its weight of SetWeight or Announce, 0.3 three tenths of that, rounded, at least 1.
// A server that breaks its objectives is relieved so while others do not.
const WeightDial = "motan.weight"

// wantedWeight is what clients that ask are told, 0 for nothing.
func (s *Server) wantedWeight() int64 {
	w, share := s.weight.Load(), s.share.Value()
	if s.share == nil || share >= 1 {
		return max(w, 0)
	}
	if w <= 0 {
		w = s.listed.Load()
	}
	return max(int64(math.Round(float64(w)*share)), 1)
}

// newMetaMethod makes the method by which clients ask.
func newMetaMethod(s *Server) *serverMethod {
	return &serverMethod{
		service: &service{}, names: [2]string{metaService, metaMethod},
		request: func() any { return Args{} },
		call: func(context.Context, any) (any, error) {
			meta := map[string]string{}
			if w := s.wantedWeight(); w > 0 {
				meta[metaWeight] = strconv.FormatInt(w, 10)
			}
			return meta, nil
		},
	}
}

// weighs reports whether weights make a difference to the client.
func (c *Client) weighs() bool {
	switch c.opt.Balance {
	case WeightedRoundRobin, LeastInFlight, LocalFirst:
		return true
	}
	return false
}

// followWeights asks the endpoints for the weight that they want, again and again,
// until the client closes.
func (c *Client) followWeights() {
	tick := time.NewTicker(c.opt.WeightRefresh)
	defer tick.Stop()
	ask := &clientMethod{name: metaMethod, idempotent: true}
	ask.meta = appendMeta(ask.meta, 0, keyFramework, "y")
	ask.meta = appendMeta(ask.meta, 0, keyService, metaService)
	ask.meta = appendMeta(ask.meta, 0, keyMethod, metaMethod)
	ask.meta = appendMeta(ask.meta, 0, keyGroup, c.opt.Group)
	ask.meta = appendMeta(ask.meta, 0, keyAuth, c.opt.Token)
	for {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return
		}
		p := c.picker.Load()
		if p == nil {
			continue
		}
		changed := false
		for _, e := range p.endpoints {
			if len(e.conns) > 0 && e.up() && !e.silent.Load() {
				changed = c.askWeight(ask, e) || changed
			}
		}
		if changed {
			c.reweigh()
		}
	}
}

// askWeight asks one endpoint and reports whether its weight is another now. One
// that does not know the question is not asked again.
func (c *Client) askWeight(ask *clientMethod, e *endpoint) (changed bool) {
	var meta map[string]string
	now := time.Now()
	o := outgoingCall{m: ask, req: &Raw{Serialization: idSimple}, resp: &meta, began: now}
	var t try
	err := c.start(c.ctx, &t, e, &o, now.Add(min(c.opt.Timeout, c.opt.WeightRefresh)))
	if err == nil {
		t.conn.haveRead()
		<-t.k.done
		err = c.finish(&t, &o)
	}
	if err != nil {
		w, ok := err.(*Error)
		if ok && w.Type == Service && w.Code != CodeReject && w.Code != CodeTimeout {
			e.silent.Store(true)
		}
		return false
	}
	weight, err := strconv.ParseInt(meta[metaWeight], 10, 64)
	if err != nil || weight < 1 {
		weight = e.listed.Load()
	}
	return e.weight.Swap(min(weight, 500)) != min(weight, 500)
}

// reweigh makes a picker of the same endpoints with the weights of now.
func (c *Client) reweigh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.picker.Load(); p != nil && !c.closed {
		c.picker.Store(newPicker(c.opt.Balance, p.endpoints))
	}
}

// SetWeight gives an endpoint another share of this client's calls than the
// registry and the endpoint itself say, from 1 to 500, until it is off the list.
// 0 takes the endpoint out: it gets no calls. A negative weight gives it back. It
// fails with ErrNoSuchEndpoint for an address that is not listed. Shares matter to
// WeightedRoundRobin, LeastInFlight and LocalFirst.
func (c *Client) SetWeight(addr string, weight int) error {
	var e *endpoint
	if p := c.picker.Load(); p != nil {
		if i := slices.IndexFunc(p.endpoints, func(e *endpoint) bool { return e.addr == addr }); i >= 0 {
			e = p.endpoints[i]
		}
	}
	if e == nil {
		return fmt.Errorf("%w: %s of %s", ErrNoSuchEndpoint, addr, c.service)
	}
	e.forced.Store(int64(max(min(weight, 500), -1) + 1))
	c.reweigh()
	return nil
}

// ErrNoSuchEndpoint is wrapped by the error of SetWeight for an address that is not
// listed now.
var ErrNoSuchEndpoint = errors.New("motan: no such endpoint")
