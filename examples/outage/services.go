package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/control"
)

// store answers after a while, as many requests at once as it has workers; the
// others wait in line. Like many a store it does not notice when the caller has
// given up, so that without protection it works for nobody.
type store struct {
	mu      sync.Mutex
	workers int
	busy    int
	line    []chan struct{}
	slower  int
}

// maxLine bounds the store's line; beyond it refuses.
const maxLine = 20000

func (s *store) set(workers, slower int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers, s.slower = workers, slower
	s.wakeLocked()
}

// waiting is how long the line is.
func (s *store) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.line)
}

func (s *store) wakeLocked() {
	for s.busy < s.workers && len(s.line) > 0 {
		s.busy++
		close(s.line[0])
		s.line = s.line[1:]
	}
}

func (s *store) ServeHTTP(rw http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	if len(s.line) >= maxLine {
		s.mu.Unlock()
		http.Error(rw, "the line is full", http.StatusServiceUnavailable)
		return
	}
	turn := make(chan struct{})
	s.line = append(s.line, turn)
	s.wakeLocked()
	s.mu.Unlock()
	<-turn
	s.mu.Lock()
	slower := s.slower
	s.mu.Unlock()
	// Two fifths are the same for all, the rest varies as waiting times do.
	took := float64(service) * (0.4 + 0.6*rand.ExpFloat64()) * float64(slower)
	time.Sleep(time.Duration(took))
	s.mu.Lock()
	s.busy--
	s.wakeLocked()
	s.mu.Unlock()
	fmt.Fprint(rw, "a page")
}

// feed stands between; with a limiter it refuses what the store would not bear.
type feed struct {
	next   *client
	op     *watchman.Operation
	limits *control.Limiter // nil: the loop is off
}

func (f *feed) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	ctx, span := f.op.StartRemote(r.Context(), watchman.FromHeader(r.Header))
	body, err := f.page(ctx)
	if span.Keeping(err) {
		rw.Header().Set(watchman.HeaderKeep, "1")
	}
	span.End(err)
	answer(rw, body, err)
}

func (f *feed) page(ctx context.Context) (string, error) {
	if f.limits == nil {
		return f.next.get(ctx)
	}
	if err := f.limits.Acquire(); err != nil {
		return "", err
	}
	began := time.Now()
	body, err := f.next.get(ctx)
	f.limits.Release(time.Since(began), err)
	return body, err
}

// web is what users talk to. While its switch is on it answers from a copy and
// asks the feed only now and then.
type web struct {
	next   *client
	op     *watchman.Operation
	cached *watchman.Switch
	count  atomic.Uint64
}

// probeEvery is how many requests there are to one that goes through while the
// switch is on.
const probeEvery = 20

const copied = "a copy of the page"

func (s *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	ctx, span := s.op.StartRemote(r.Context(), watchman.FromHeader(r.Header))
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	on := s.cached.On()
	if on && s.count.Add(1)%probeEvery != 0 {
		span.End(nil)
		answer(rw, copied, nil)
		return
	}
	body, err := s.next.get(ctx)
	if on && err != nil {
		body, err = copied, nil // a probe costs no user anything
	}
	span.End(err)
	answer(rw, body, err)
}

func answer(rw http.ResponseWriter, body string, err error) {
	switch {
	case err == nil:
		fmt.Fprint(rw, body)
	case errors.Is(err, watchman.ErrRejected):
		http.Error(rw, "refused", http.StatusTooManyRequests)
	default:
		http.Error(rw, "failed", http.StatusBadGateway)
	}
}

// client calls the next service and carries the trace.
type client struct {
	http *http.Client
	url  string
	op   *watchman.Operation
}

func (c *client) get(ctx context.Context) (string, error) {
	ctx, span := c.op.Start(ctx)
	body, keep, err := c.send(ctx, span.SpanContext())
	if keep {
		span.Keep(watchman.KeepRemote)
	}
	span.End(err)
	return body, err
}

func (c *client) send(ctx context.Context, sc watchman.SpanContext) (body string, keep bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return "", false, err
	}
	sc.ToHeader(r.Header)
	res, err := c.http.Do(r)
	if err != nil {
		return "", false, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	keep = res.Header.Get(watchman.HeaderKeep) == "1"
	switch {
	case err != nil:
		return "", keep, err
	case res.StatusCode == http.StatusTooManyRequests:
		return "", keep, fmt.Errorf("%s: %w", c.url, watchman.ErrRejected)
	case res.StatusCode != http.StatusOK:
		return "", keep, fmt.Errorf("%s: %s", c.url, res.Status)
	}
	return string(b), keep, nil
}

// platform is the three services, running.
type platform struct {
	url     string
	store   *store
	loop    *control.Loop
	servers []*http.Server
	idle    *http.Transport
}

func (p *platform) serve(h http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	p.servers = append(p.servers, srv)
	go srv.Serve(l) // ends with Close
	return "http://" + l.Addr().String() + "/", nil
}

func (p *platform) close() {
	p.store.set(maxLine, 1) // let those in line go
	for _, s := range p.servers {
		s.Close()
	}
	p.idle.CloseIdleConnections()
}

// start brings the three services up, with or without the loop.
func (d *drill) start(on bool) (*platform, error) {
	p := &platform{
		store: &store{workers: d.workers, slower: 1},
		idle:  &http.Transport{MaxIdleConnsPerHost: 1000, MaxIdleConns: 5000},
	}
	hc := &http.Client{Transport: p.idle}
	storeURL, err := p.serve(p.store)
	if err != nil {
		return nil, err
	}
	feedWatch, err := watchman.New("feed", &watchman.Options{Slow: timeLimit})
	if err != nil {
		return nil, err
	}
	webWatch, err := watchman.New("web", &watchman.Options{Slow: timeLimit})
	if err != nil {
		return nil, err
	}
	f := &feed{op: feedWatch.Operation(watchman.Server, "page"), next: &client{hc, storeURL, feedWatch.Operation(watchman.Client, "store.page")}}
	s := &web{
		op:     webWatch.Operation(watchman.Server, "GET /"),
		cached: webWatch.Switch("web.cached", false),
	}
	if on {
		if f.limits, err = control.NewLimiter("store", control.LimiterOptions{Target: timeLimit * 9 / 10, Initial: d.workers, Lowest: d.left(), Highest: 4 * d.workers}); err != nil {
			return nil, err
		}
		p.loop, err = control.New(webWatch,
			[]control.Objective{{Name: "pages", Kind: watchman.Client, Operation: "feed.page", Latency: timeLimit, Target: 0.99, MinCalls: 5}},
			[]control.Policy{{
				Name: "answer from a copy", Objective: "pages", Switch: s.cached, Enforce: true,
				Window: 500 * time.Millisecond, After: 3, Hold: 5 * time.Second, Leave: 0.05,
			}},
			&control.Options{Interval: 100 * time.Millisecond})
		if err != nil {
			return nil, err
		}
	}
	feedURL, err := p.serve(f)
	if err != nil {
		return nil, err
	}
	s.next = &client{hc, feedURL, webWatch.Operation(watchman.Client, "feed.page")}
	p.url, err = p.serve(s)
	return p, err
}
