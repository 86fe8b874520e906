package motan

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MC is a client of memcached servers with what Client has: failover, balance,
// breakers, deadlines, interceptors and tracing. It is safe for concurrent use.
type MC struct{ c *Client }

// ErrNotStored is returned by MC.Get for a key that is not there.
var ErrNotStored = errors.New("motan: memcached has no such key")

// NewMC returns a client of the memcached servers that reg lists, each by its
// host:port, under the given service name, which is also what traces and
// interceptors see; the methods are get, set and delete. Of opts, what is about
// frames and serialization has no effect; the default Balance is ConsistentHash,
// which alone finds a key again where it was put. All three methods may be executed
// twice, so Failover tries another server for each of them: a cache may be asked
// elsewhere. It does no I/O.
func NewMC(service string, reg Registry, opts *ClientOptions) (*MC, error) {
	var o ClientOptions
	if opts != nil {
		o = *opts
	}
	if o.Balance == 0 {
		o.Balance = ConsistentHash
	}
	o.Idempotent = []string{"get", "set", "delete"}
	if reg != nil {
		reg = memcachedServers{reg}
	}
	c, err := NewClient(service, reg, &o)
	if err != nil {
		return nil, err
	}
	return &MC{c}, nil
}

// memcachedServers marks the endpoints of a registry.
type memcachedServers struct{ Registry }

func (m memcachedServers) Watch(ctx context.Context, service, group, version string, update func([]Endpoint)) error {
	return m.Registry.Watch(ctx, service, group, version, func(list []Endpoint) {
		for i := range list {
			list[i].memcached = true
		}
		update(list)
	})
}

// MCItem is what the methods of MC are about, and what interceptors see as request
// and, for get, as response.
type MCItem struct {
	Key    string
	Value  []byte
	Expire time.Duration // set: 0 means never, other times are rounded up to seconds
}

// Get returns the value of key, or ErrNotStored.
func (m *MC) Get(ctx context.Context, key string) ([]byte, error) {
	var got MCItem
	if err := m.c.call(hashed(ctx, key), "get", &MCItem{Key: key}, &got, false); err != nil {
		return nil, err
	}
	if got.Value == nil {
		return nil, ErrNotStored
	}
	return got.Value, nil
}

// Set stores value under key for a time; 0 means for good. It does not keep value.
func (m *MC) Set(ctx context.Context, key string, value []byte, expire time.Duration) error {
	return m.c.call(hashed(ctx, key), "set", &MCItem{key, value, expire}, new(MCItem), false)
}

// Delete removes key; it is no error if it is not there.
func (m *MC) Delete(ctx context.Context, key string) error {
	return m.c.call(hashed(ctx, key), "delete", &MCItem{Key: key}, new(MCItem), false)
}

// Stats returns a snapshot.
func (m *MC) Stats() ClientStats { return m.c.Stats() }

// Close closes the connections and waits for the goroutines.
func (m *MC) Close() error { return m.c.Close() }

// hashed makes the key of the item that of the call, unless the caller chose one.
func hashed(ctx context.Context, key string) context.Context {
	if ctx.Value(hashKey{}) != nil {
		return ctx
	}
	return WithHashKey(ctx, key)
}

const (
	mcMaxKey = 250 // of the protocol
	// mcIdle is how many connections to a server are kept while nobody uses them.
	mcIdle = 64
	// mcMonth is the longest expiry that the protocol takes as a duration.
	mcMonth = 30 * 24 * time.Hour
)

// mcPool has the connections to one memcached server.
type mcPool struct {
	mu     sync.Mutex
	idle   []*mcConn
	closed bool
}

type mcConn struct {
	net.Conn
	r *bufio.Reader
}

func (p *mcPool) take() *mcConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return c
}

func (p *mcPool) put(c *mcConn) {
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < mcIdle
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		c.Close()
	}
}

func (p *mcPool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}

// tryMC makes a try at a memcached server.
func (c *Client) tryMC(ctx context.Context, e *endpoint, o *outgoingCall, until time.Time) error {
	item, ok := o.req.(*MCItem)
	if !ok || item == nil {
		return &Error{Code: CodeEncode, Message: fmt.Sprintf("memcached: the request is a %T", o.req)}
	}
	command, err := mcCommand(o.m.name, item, c.opt.MaxFrame)
	if err != nil {
		return &Error{Code: CodeEncode, Message: err.Error(), cause: err}
	}
	conn := e.mc.take()
	pooled := conn != nil
	if conn == nil {
		if conn, err = c.dialMC(ctx, e, until); err != nil {
			return err
		}
	}
	o.phases.begin("wait")
	got, err := conn.do(ctx, until, o.m.name, command, item.Key, c.opt.MaxFrame)
	if err != nil && pooled && ctx.Err() == nil && time.Now().Before(until) && !errors.Is(err, errMC) {
		// The server closed an idle connection, most likely. All methods may be
		// executed twice.
		conn.Close()
		if conn, err = c.dialMC(ctx, e, until); err != nil {
			return err
		}
		got, err = conn.do(ctx, until, o.m.name, command, item.Key, c.opt.MaxFrame)
	}
	if err == nil {
		e.mc.put(conn)
		if o.x != nil {
			o.x.RequestBytes, o.x.ResponseBytes = len(command), len(got)
		}
		if out, ok := o.resp.(*MCItem); ok {
			*out = MCItem{Key: item.Key, Value: got}
		}
		return nil
	}
	conn.Close()
	switch {
	case errors.Is(err, errMC):
		return &Error{Code: CodeInternal, Type: Service, Message: e.addr + ": " + err.Error(), sent: true, cause: err}
	case ctx.Err() != nil:
		return timeoutError(e.addr, c.opt.Timeout, ctx.Err(), true)
	case !time.Now().Before(until):
		return timeoutError(e.addr, c.opt.Timeout, context.DeadlineExceeded, true)
	}
	return &Error{Code: CodeConnection, Message: e.addr + ": " + err.Error(), sent: true, cause: err}
}

// dialMC connects to a memcached server for one call. That there was no connection in
// its time counts against the server as no answer does.
func (c *Client) dialMC(ctx context.Context, e *endpoint, until time.Time) (*mcConn, error) {
	limited, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	conn, err := e.dial(limited)
	if err == nil {
		return &mcConn{conn, bufio.NewReader(conn)}, nil
	}
	e.lastErr.Store(&err)
	if limited.Err() != nil {
		return nil, timeoutError(e.addr, c.opt.Timeout, limited.Err(), true)
	}
	return nil, &Error{Code: CodeConnection, Message: e.addr + ": " + err.Error(), sent: true, cause: err}
}

// mcCommand is the command in memcached's text protocol.
func mcCommand(method string, item *MCItem, most int) ([]byte, error) {
	if item.Key == "" || len(item.Key) > mcMaxKey || strings.ContainsFunc(item.Key, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("memcached: key %.50q: want 1 to %d bytes without spaces and control characters", item.Key, mcMaxKey)
	}
	if len(item.Value) > most {
		return nil, fmt.Errorf("%w: %d bytes of value, limit %d", errTooLarge, len(item.Value), most)
	}
	switch method {
	case "get", "delete":
		return []byte(method + " " + item.Key + "\r\n"), nil
	case "set":
		expire := int64(0)
		switch d := item.Expire; {
		case d < 0:
			return nil, fmt.Errorf("memcached: key %q: expires after %v", item.Key, d)
		case d > mcMonth:
			expire = time.Now().Add(d).Unix()
		case d > 0:
			expire = int64((d + time.Second - 1) / time.Second)
		}
		b := fmt.Appendf(nil, "set %s 0 %d %d\r\n", item.Key, expire, len(item.Value))
		return append(append(b, item.Value...), "\r\n"...), nil
	}
	return nil, fmt.Errorf("memcached: no method %q", method)
}

// errMC is wrapped by errors that the server answered, or that mean that it is none.
var errMC = errors.New("memcached")

// do sends a command and reads its answer; get of a missing key gives nil.
func (c *mcConn) do(ctx context.Context, until time.Time, method string, command []byte, key string, most int) (value []byte, err error) {
	if err := c.SetDeadline(until); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil { // it may yet change the deadline of the next one
			err = context.Cause(ctx)
		}
	}()
	if _, err := c.Write(command); err != nil {
		return nil, err
	}
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	switch {
	case method == "get" && line == "END",
		method == "set" && line == "STORED",
		method == "delete" && (line == "DELETED" || line == "NOT_FOUND"):
		return nil, nil
	case method == "get" && strings.HasPrefix(line, "VALUE "):
		return c.value(line, key, most)
	}
	return nil, fmt.Errorf("%w: %s answered with %.200q", errMC, method, line)
}

func (c *mcConn) line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%w: a line of more than %d bytes", errMC, len(b))
	}
	return string(bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))), err
}

// value reads what follows a VALUE line.
func (c *mcConn) value(line, key string, most int) ([]byte, error) {
	f := strings.Fields(line)
	if len(f) < 4 || f[1] != key {
		return nil, fmt.Errorf("%w: get answered with %.200q", errMC, line)
	}
	n, err := strconv.ParseUint(f[3], 10, 31)
	if err != nil || n > uint64(most) {
		return nil, fmt.Errorf("%w: a value of %s bytes, limit %d", errMC, f[3], most)
	}
	var v frame // its fill grows the buffer with what arrives
	if err := v.fill(c.r, 0, int(n)+2); err != nil {
		return nil, err
	}
	end, err := c.line()
	if err != nil {
		return nil, err
	}
	if end != "END" || string(v.buf[n:]) != "\r\n" {
		return nil, fmt.Errorf("%w: no END after the value", errMC)
	}
	return v.buf[:n:n], nil
}
