package motan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// HA is what a client does when a call fails.
type HA int

const (
	Failover HA = iota // try other endpoints, where that is safe
	Failfast           // report the first failure
)

// ClientOptions configures NewClient. The zero value is ready to use.
type ClientOptions struct {
	Group       string // the service's group; "" means "default_rpc"
	Version     string // the service's version; "" means "1.0"
	Application string // who calls; "" sends nothing

	Serializer Serializer // nil means Simple{}
	HA         HA         // default Failover
	Balance    Balance    // default RoundRobin

	// Retries is how many more endpoints Failover tries. 0 means 1; negative none.
	Retries int

	// Idempotent names the methods that may be executed twice. Others are tried
	// again only if the request was certainly not executed.
	Idempotent []string

	// Timeout bounds a call with all its retries if ctx has no earlier
	// deadline. 0 means 1 s.
	Timeout time.Duration

	// Connections per endpoint. 0 means 2, at most 64.
	Connections int

	// MaxFrame bounds the metadata and the body of a frame, in bytes each.
	// 0 means 10 MiB.
	MaxFrame int

	Watchman *watchman.Watchman // nil: nothing is watched
}

func (o *ClientOptions) filled() (ClientOptions, error) {
	var out ClientOptions
	if o != nil {
		out = *o
	}
	if out.Group == "" {
		out.Group = "default_rpc"
	}
	if out.Version == "" {
		out.Version = "1.0"
	}
	if out.Serializer == nil {
		out.Serializer = Simple{}
	}
	if out.Retries == 0 {
		out.Retries = 1
	}
	if out.Timeout == 0 {
		out.Timeout = time.Second
	}
	if out.Connections == 0 {
		out.Connections = 2
	}
	if out.MaxFrame == 0 {
		out.MaxFrame = 10 << 20
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("motan: ClientOptions."+format, args...))
	}
	if out.HA != Failover && out.HA != Failfast {
		bad("HA %d: unknown", out.HA)
	}
	if out.Balance < RoundRobin || out.Balance > ConsistentHash {
		bad("Balance %d: unknown", out.Balance)
	}
	if out.Timeout < 0 {
		bad("Timeout %v: negative", out.Timeout)
	}
	if out.Connections < 1 || out.Connections > 64 {
		bad("Connections %d: want 1 to 64", out.Connections)
	}
	if out.MaxFrame < 0 {
		bad("MaxFrame %d: negative", out.MaxFrame)
	}
	for _, f := range [...]struct{ name, value string }{
		{"Group", out.Group}, {"Version", out.Version}, {"Application", out.Application},
	} {
		if strings.ContainsRune(f.value, '\n') {
			bad("%s %q: contains a line feed", f.name, f.value)
		}
	}
	out.Idempotent = slices.Clone(out.Idempotent)
	return out, errors.Join(errs...)
}

// Client calls one service. It is safe for concurrent use.
type Client struct {
	service string
	reg     Registry
	opt     ClientOptions
	prefix  []byte // metadata that all calls share

	turn   atomic.Uint64
	picker atomic.Pointer[picker]

	mu      sync.Mutex
	methods atomic.Pointer[map[string]*clientMethod]
	watched bool
	closed  bool
	ctx     context.Context
	cancel  context.CancelFunc

	calls   atomic.Uint64
	errors  atomic.Uint64
	retries atomic.Uint64
}

// clientMethod is what a client knows about one method of its service.
type clientMethod struct {
	op         *watchman.Operation
	idempotent bool
	meta       []byte // the prefix and the method
}

// NewClient returns a client of the named service. It does no I/O: the first
// call asks the registry and dials.
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
	c := &Client{service: service, reg: reg, opt: o}
	c.prefix = appendMeta(c.prefix, 0, keyService, service)
	c.prefix = appendMeta(c.prefix, 0, keyGroup, o.Group)
	c.prefix = appendMeta(c.prefix, 0, keyVersion, o.Version)
	c.prefix = appendMeta(c.prefix, 0, keyApplication, o.Application)
	c.methods.Store(&map[string]*clientMethod{})
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
		return nil, fmt.Errorf("motan: method %q: want a name without line feeds", name)
	}
	m := &clientMethod{
		op:         c.opt.Watchman.Operation(watchman.Client, c.service+"/"+name),
		idempotent: slices.Contains(c.opt.Idempotent, name),
		meta:       appendMeta(slices.Clone(c.prefix), 0, keyMethod, name),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.methods.Load()
	if len(old) < maxMethods {
		next := make(map[string]*clientMethod, len(old)+1)
		for k, v := range old {
			next[k] = v
		}
		next[name] = m
		c.methods.Store(&next)
	}
	return m, nil
}

// endpoints returns the current picker, asking the registry the first time.
func (c *Client) endpoints() (*picker, error) {
	if p := c.picker.Load(); p != nil {
		return p, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if !c.watched {
		if err := c.reg.Watch(c.ctx, c.service, c.opt.Group, c.opt.Version, c.update); err != nil {
			return nil, &Error{Code: CodeNoEndpoint, Message: c.service + ": " + err.Error(), cause: err}
		}
		c.watched = true
	}
	return c.picker.Load(), nil
}

// update replaces the endpoints by those of list, keeping the ones that stay.
func (c *Client) update(list []Endpoint) {
	old := map[string]*endpoint{}
	if p := c.picker.Load(); p != nil {
		for _, e := range p.endpoints {
			old[e.addr] = e
		}
	}
	var now []*endpoint
	for _, l := range list {
		e := old[l.Addr]
		delete(old, l.Addr)
		if e == nil {
			e = newEndpoint(l.Addr, c.opt.Connections, c.opt.MaxFrame)
		}
		now = append(now, e)
	}
	c.picker.Store(newPicker(c.opt.Balance, now, &c.turn))
	for _, e := range old {
		go e.drain(c.opt.Timeout)
	}
}

// drain closes an endpoint that is no longer listed once its calls are answered.
func (e *endpoint) drain(most time.Duration) {
	for end := time.Now().Add(most); e.inFlight.Load() > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	e.close()
}

// Close ends the client. Calls in flight fail with ErrClosed as their cause.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.cancel()
	p := c.picker.Swap(nil)
	c.mu.Unlock()
	if p != nil {
		for _, e := range p.endpoints {
			e.close()
		}
	}
	return nil
}

// ClientStats are a client's counters.
type ClientStats struct {
	Calls     uint64          // calls begun; only grows
	Errors    uint64          // calls that failed in the end; only grows
	Retries   uint64          // further tries of calls; only grows
	Endpoints []EndpointStats // as of now
}

// EndpointStats is the state of one endpoint.
type EndpointStats struct {
	Addr     string
	InFlight int64  // calls that wait for an answer
	Down     string // why it takes no calls; empty if it does
}

// Stats returns a snapshot.
func (c *Client) Stats() ClientStats {
	s := ClientStats{Calls: c.calls.Load(), Errors: c.errors.Load(), Retries: c.retries.Load()}
	if p := c.picker.Load(); p != nil {
		for _, e := range p.endpoints {
			es := EndpointStats{Addr: e.addr, InFlight: e.inFlight.Load()}
			if err := e.unavailable(); err != nil {
				es.Down = err.Error()
			}
			s.Endpoints = append(s.Endpoints, es)
		}
	}
	return s
}

// Call calls a method and waits for its answer. req is encoded by the client's
// Serializer; Resp is what the answer decodes into. The call ends at ctx's
// deadline or after Options.Timeout, whichever is earlier; the time left
// travels with the request. A failed call returns a *Error, which wraps
// context.DeadlineExceeded or context.Canceled where that was the cause.
func Call[Resp any](ctx context.Context, c *Client, method string, req any) (*Resp, error) {
	resp := new(Resp)
	if err := c.call(ctx, method, req, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

func (c *Client) call(ctx context.Context, name string, req, resp any) (err error) {
	m, err := c.method(name)
	if err != nil {
		return err
	}
	ctx, span := m.op.Start(ctx)
	c.calls.Add(1)
	defer func() {
		if err != nil {
			c.errors.Add(1)
		}
		span.End(err)
	}()
	deadline := time.Now().Add(c.opt.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	p, err := c.endpoints()
	if err != nil {
		return err
	}
	if p == nil {
		return ErrClosed
	}
	var tried []*endpoint
	var room [4]*endpoint
	tried = room[:0]
	for {
		e, perr := c.choose(ctx, p, tried, deadline)
		if e == nil {
			// What went wrong at the last endpoint says more than that there is no other.
			if err == nil {
				err = perr
			}
			return err
		}
		err = c.try(ctx, e, m, span, req, resp, deadline)
		if err == nil || c.opt.HA == Failfast || len(tried) >= c.opt.Retries || !retry(err, m.idempotent) || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		c.retries.Add(1)
		tried = append(tried, e)
		if p = c.picker.Load(); p == nil {
			return err
		}
	}
}

// retry reports whether a call that failed with err may go to another endpoint.
func retry(err error, idempotent bool) bool {
	var e *Error
	if !errors.As(err, &e) || e.Type == Business {
		return false
	}
	if e.Type == Service {
		// The server has decided: only what it refused to begin goes elsewhere.
		return e.Code == CodeReject || e.Code == CodeNotFound
	}
	return idempotent || !e.sent
}

// choose picks an endpoint. Before the first connections are up it waits for
// them instead of failing.
func (c *Client) choose(ctx context.Context, p *picker, tried []*endpoint, deadline time.Time) (*endpoint, error) {
	e := p.pick(ctx, tried)
	if e == nil && len(tried) > 0 {
		e = p.pick(ctx, nil) // better the same endpoint again than none
	}
	if e != nil {
		return e, nil
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for _, e := range p.endpoints {
		select {
		case <-e.tried:
		case <-timer.C:
		case <-ctx.Done():
		}
		if e = p.pick(ctx, tried); e != nil {
			return e, nil
		}
	}
	var why strings.Builder
	for i, e := range p.endpoints {
		if i > 0 {
			why.WriteString("; ")
		}
		reason := e.unavailable()
		if reason == nil {
			reason = errors.New("just came back")
		}
		fmt.Fprintf(&why, "%s: %v", e.addr, reason)
	}
	return nil, &Error{Code: CodeNoEndpoint, Message: "no endpoint of " + c.service + ": " + why.String()}
}

var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// try makes one attempt at one endpoint.
func (c *Client) try(ctx context.Context, e *endpoint, m *clientMethod, span *watchman.Span, req, resp any, deadline time.Time) (err error) {
	settle, err := e.breaker.Allow()
	if err != nil {
		return &Error{Code: CodeNoEndpoint, Message: e.addr + ": resting after too many failures in a row", cause: err}
	}
	defer func() { settle(err) }()
	conn := e.conn()
	if conn == nil {
		return &Error{Code: CodeConnection, Message: e.addr + ": not connected"}
	}
	left := time.Until(deadline)
	if left <= 0 {
		return &Error{Code: CodeTimeout, Message: e.addr + ": no time left", cause: context.DeadlineExceeded}
	}
	buf := scratch.Get().(*[]byte)
	b, err := c.encode((*buf)[:0], m, span, req, left)
	if err != nil {
		scratch.Put(buf)
		// A value that cannot be encoded is the caller's mistake, not the endpoint's.
		return &Error{Code: CodeInternal, Type: Business, Message: err.Error(), cause: err}
	}
	k := calls.Get().(*call)
	id, err := conn.start(k)
	if err == nil {
		binary.BigEndian.PutUint64(b[5:], id)
		_, err = conn.out.Write(b)
		if err != nil && !conn.cancel(id) {
			<-k.done // the failure has been delivered, or is about to be
		}
	}
	if cap(b) <= keepBuf {
		*buf = b
		scratch.Put(buf)
	}
	if err != nil {
		k.release()
		return &Error{Code: CodeConnection, Message: e.addr + ": " + err.Error(), cause: err}
	}

	e.inFlight.Add(1)
	defer e.inFlight.Add(-1)
	if err := c.wait(ctx, conn, k, id, left); err != nil {
		return &Error{Code: CodeTimeout, Message: fmt.Sprintf("%s: no answer in %v", e.addr, left.Round(time.Millisecond)), sent: true, cause: err}
	}
	defer k.release()
	if k.err != nil {
		return &Error{Code: CodeConnection, Message: e.addr + ": " + k.err.Error(), sent: true, cause: k.err}
	}
	return c.decode(&k.frame, resp)
}

var timers = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}}

// wait waits for the answer to call k. If it returns an error, k is no longer the caller's.
func (c *Client) wait(ctx context.Context, conn *clientConn, k *call, id uint64, left time.Duration) error {
	timer := timers.Get().(*time.Timer)
	timer.Reset(left)
	defer func() {
		timer.Stop()
		timers.Put(timer)
	}()
	var err error
	select {
	case <-k.done:
		return nil
	case <-timer.C:
		err = context.DeadlineExceeded
	case <-ctx.Done():
		err = ctx.Err()
	}
	if conn.cancel(id) {
		k.release()
		return err
	}
	// The answer is arriving. It may take as long as the peer likes, so k is
	// left to the reader and the garbage collector.
	select {
	case <-k.done:
		return nil
	default:
		return err
	}
}

// encode appends the whole request with id 0.
func (c *Client) encode(b []byte, m *clientMethod, span *watchman.Span, req any, left time.Duration) ([]byte, error) {
	b = appendHeader(b, header{serialization: c.opt.Serializer.ID()})
	b = append(b, 0, 0, 0, 0)
	start := len(b)
	b = append(b, m.meta...)
	b = append(b, "\n"+keyTimeout+"\n"...)
	b = strconv.AppendInt(b, max(left.Milliseconds(), 1), 10)
	if sc := span.SpanContext(); sc.IsValid() {
		b = append(b, "\n"+keyTraceparent+"\n"...)
		b = sc.AppendTraceparent(b)
		b = appendMeta(b, start, keyTracestate, sc.State)
		b = appendMeta(b, start, keyBaggage, sc.Baggage)
	}
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	if len(b)-start > c.opt.MaxFrame {
		return b, fmt.Errorf("%w: %d bytes of metadata, limit %d", errTooLarge, len(b)-start, c.opt.MaxFrame)
	}
	b = append(b, 0, 0, 0, 0)
	body := len(b)
	b, err := c.opt.Serializer.Append(b, req)
	if err != nil {
		return b, err
	}
	if len(b)-body > c.opt.MaxFrame {
		return b, fmt.Errorf("%w: %d bytes of body, limit %d", errTooLarge, len(b)-body, c.opt.MaxFrame)
	}
	binary.BigEndian.PutUint32(b[body-4:], uint32(len(b)-body))
	return b, nil
}

func (c *Client) decode(f *frame, resp any) error {
	if f.status != statusNormal {
		return decodeError(metaValue(f.meta, keyException))
	}
	body := f.body
	s, err := serializerFor(f.serialization)
	if f.serialization == c.opt.Serializer.ID() {
		s, err = c.opt.Serializer, nil
	}
	if err == nil && f.kind&bitGzip != 0 {
		body, err = inflate(body, c.opt.MaxFrame)
	}
	if err == nil {
		err = s.Decode(body, resp)
	}
	if err != nil {
		return &Error{Code: CodeInternal, Type: Service, Message: "answer: " + err.Error(), sent: true, cause: err}
	}
	return nil
}
