package motan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Client calls one service. It is safe for concurrent use.
type Client struct {
	service string
	reg     Registry
	opt     ClientOptions
	prefix  []byte  // metadata that all calls share
	invoke  Invoker // the interceptors, and run inside them

	turns   atomic.Uint64 // first tries so far
	picker  atomic.Pointer[picker]
	methods atomic.Pointer[map[string]*clientMethod]
	budget  budget
	sweep   sweeper

	ctx        context.Context // done when the client closes
	cancel     context.CancelFunc
	background sync.WaitGroup

	mu      sync.Mutex
	watch   *watch // the registry is being asked, or has answered
	closed  bool
	leaving map[*endpoint]struct{} // unlisted, but with calls in flight

	stats clientCounters
}

type clientMethod struct {
	name       string
	op         *watchman.Operation
	idempotent bool
	meta       []byte // metadata of every call of this method
	took       latency
}

// NewClient returns a client of a service whose endpoints reg knows. It does no
// I/O: the first call connects.
func NewClient(service string, reg Registry, opts *ClientOptions) (*Client, error) {
	o, err := opts.filled()
	if service == "" || strings.ContainsRune(service, '\n') {
		err = errors.Join(err, fmt.Errorf("motan: service %q: want a name without line feeds", service))
	}
	if reg == nil {
		err = errors.Join(err, errors.New("motan: no registry given"))
	}
	if err != nil {
		return nil, err
	}
	c := &Client{service: service, reg: reg, opt: o, leaving: make(map[*endpoint]struct{})}
	c.prefix = appendMeta(c.prefix, 0, keyService, service)
	c.prefix = appendMeta(c.prefix, 0, keyGroup, o.Group)
	c.prefix = appendMeta(c.prefix, 0, keyVersion, o.Version)
	c.prefix = appendMeta(c.prefix, 0, keyApplication, o.Application)
	c.prefix = appendMeta(c.prefix, 0, keyAuth, o.Token)
	c.methods.Store(&map[string]*clientMethod{})
	c.budget.init(o.RetryBudget)
	if c.invoke, err = chain(o.Interceptors, c.run); err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// maxMethods bounds the methods a client remembers, in case names are made up
// from input.
const maxMethods = 1024

func (c *Client) method(name string) (*clientMethod, error) {
	if m := (*c.methods.Load())[name]; m != nil {
		return m, nil
	}
	if name == "" || strings.ContainsRune(name, '\n') {
		return nil, &Error{Code: CodeEncode, Message: fmt.Sprintf("method %q: want a name without line feeds", name)}
	}
	m := &clientMethod{
		name:       name,
		op:         c.opt.Watchman.Operation(watchman.Client, c.service+"/"+name),
		idempotent: slices.Contains(c.opt.Idempotent, name),
		meta:       appendMeta(slices.Clone(c.prefix), 0, keyMethod, name),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.methods.Load()
	if m := old[name]; m != nil {
		return m, nil
	}
	if len(old) < maxMethods {
		next := maps.Clone(old)
		next[name] = m
		c.methods.Store(&next)
	}
	return m, nil
}

// watch is one attempt to get the first list of endpoints.
type watch struct {
	done chan struct{}
	err  error // once done is closed
}

// endpoints returns the current picker, asking the registry the first time. Calls
// that come meanwhile wait for the same answer, each as long as it may.
func (c *Client) endpoints(ctx context.Context, deadline time.Time) (*picker, error) {
	if p := c.picker.Load(); p != nil {
		return p, nil
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, c.closedError()
	}
	w := c.watch
	if w == nil {
		w = &watch{done: make(chan struct{})}
		c.watch = w
		c.background.Go(func() { c.begin(w) })
	}
	c.mu.Unlock()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	var err error
	select {
	case <-w.done:
		if err = w.err; err == nil {
			if p := c.picker.Load(); p != nil {
				return p, nil
			}
			return nil, c.closedError()
		}
	case <-timer.C:
		err = context.DeadlineExceeded
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.ctx.Done():
		return nil, c.closedError()
	}
	return nil, &Error{Code: CodeNoEndpoint, Message: "endpoints of " + c.service + ": " + err.Error(), cause: err}
}

func (c *Client) closedError() error {
	return &Error{Code: CodeNoEndpoint, Message: "the client of " + c.service + " is closed", cause: ErrClosed}
}

// begin asks the registry. If it fails, the next call asks again.
func (c *Client) begin(w *watch) {
	w.err = c.reg.Watch(c.ctx, c.service, c.opt.Group, c.opt.Version, c.update)
	if w.err != nil {
		c.mu.Lock()
		c.watch = nil
		c.mu.Unlock()
	}
	close(w.done)
}

// update replaces the endpoints by those of list, keeping the ones that stay.
func (c *Client) update(list []Endpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	before := c.picker.Load()
	old := map[string]*endpoint{}
	if before != nil {
		for _, e := range before.endpoints {
			old[e.addr] = e
		}
	}
	now := make([]*endpoint, 0, len(list))
	for _, l := range list {
		if slices.ContainsFunc(now, func(e *endpoint) bool { return e.addr == l.Addr }) {
			continue
		}
		e := old[l.Addr]
		if e == nil {
			e = newEndpoint(c, l, before == nil)
		}
		if w := int64(weightOf(l)); e.listed.Swap(w) != w {
			e.weight.Store(w) // until it is asked again
		}
		delete(old, l.Addr)
		now = append(now, e)
	}
	c.picker.Store(newPicker(c.opt.Balance, now))
	if before == nil && c.weighs() && c.opt.WeightRefresh > 0 {
		c.background.Go(c.followWeights)
	}
	for _, e := range old {
		c.leaving[e] = struct{}{}
		c.background.Go(func() {
			e.drain(c.opt.Timeout, c.ctx.Done())
			c.mu.Lock()
			delete(c.leaving, e)
			c.mu.Unlock()
		})
	}
}

// Close ends the client and waits for its goroutines. Calls in flight fail with
// ErrClosed as their cause.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	p := c.picker.Swap(nil)
	c.mu.Unlock()
	c.cancel()
	if p != nil {
		var wg sync.WaitGroup
		for _, e := range p.endpoints {
			wg.Go(e.close)
		}
		wg.Wait()
	}
	c.background.Wait()
	c.sweep.close()
	return nil
}

type clientCounters struct {
	calls, errors, retries, backups, overBudget atomic.Uint64
}

// ClientStats are a client's counters.
type ClientStats struct {
	Calls      uint64          // calls begun; only grows
	Errors     uint64          // calls that failed in the end; only grows
	Retries    uint64          // further tries after a failure; only grows
	Backups    uint64          // second requests for slow calls; only grows
	OverBudget uint64          // tries that RetryBudget or the 15 % of Backup did not allow; only grows
	Leaving    int             // endpoints that are listed no more but have calls in flight
	Endpoints  []EndpointStats // those listed, as of now
}

// EndpointStats is the state of one endpoint.
type EndpointStats struct {
	Addr        string
	Weight      int    // as listed, as the endpoint wishes, or by SetWeight
	Connections int    // that are up
	InFlight    int64  // calls that wait for an answer
	Calls       uint64 // tries made here; only grows
	Errors      uint64 // of which failed otherwise than by the application; only grows
	Opened      uint64 // how often its breaker took it out; only grows
	Down        string // why it takes no calls; empty if it does
}

// Stats returns a snapshot.
func (c *Client) Stats() ClientStats {
	s := ClientStats{
		Calls: c.stats.calls.Load(), Errors: c.stats.errors.Load(), Retries: c.stats.retries.Load(),
		Backups: c.stats.backups.Load(), OverBudget: c.stats.overBudget.Load(),
	}
	c.mu.Lock()
	s.Leaving = len(c.leaving)
	c.mu.Unlock()
	if p := c.picker.Load(); p != nil {
		for _, e := range p.endpoints {
			s.Endpoints = append(s.Endpoints, e.stats())
		}
	}
	return s
}
