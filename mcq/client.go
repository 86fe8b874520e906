package mcq

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// ClientOptions configures Dial. The zero value is ready to use.
type ClientOptions struct {
	// Timeout bounds an operation if ctx has no earlier deadline; waiting for
	// messages comes on top. 0 means 5 s.
	Timeout time.Duration

	// MaxMessage bounds a body in bytes. 0 means 1 MiB; the server has a limit
	// of its own.
	MaxMessage int

	// TLS, if not nil, makes connections with it. An empty ServerName is the
	// host that was given to Dial.
	TLS *tls.Config

	// User and Password, if not empty, are what a connection says first.
	User, Password string

	Watchman *watchman.Watchman // nil: nothing is watched
}

func (o *ClientOptions) filled() (ClientOptions, error) {
	var out ClientOptions
	if o != nil {
		out = *o
	}
	if out.Timeout == 0 {
		out.Timeout = 5 * time.Second
	}
	if out.MaxMessage == 0 {
		out.MaxMessage = 1 << 20
	}
	var errs []error
	if out.Timeout < 0 {
		errs = append(errs, fmt.Errorf("mcq: ClientOptions.Timeout %v: negative", out.Timeout))
	}
	if out.MaxMessage < 0 || out.MaxMessage > 64<<20 {
		errs = append(errs, fmt.Errorf("mcq: ClientOptions.MaxMessage %d: want up to %d", out.MaxMessage, 64<<20))
	}
	if strings.ContainsAny(out.User, " \r\n") || (out.User == "") != (out.Password == "") {
		errs = append(errs, fmt.Errorf("mcq: ClientOptions.User %q: has a space, or one of User and Password is missing", out.User))
	}
	return out, errors.Join(errs...)
}

// Client is a Server seen from elsewhere. All goroutines share one connection
// for putting and acknowledging, with their commands combined, and each Lease
// that waits has one of its own. It is safe for concurrent use.
type Client struct {
	addr string
	opt  ClientOptions

	ctx    context.Context // ends with Close, and with it what dials
	cancel context.CancelFunc
	dials  sync.WaitGroup // of dialShared; begun under mu

	mu      sync.Mutex
	shared  *clientConn
	dialing *sharedDial   // of shared, if one is under way
	failed  time.Time     // when dialling last failed
	backoff time.Duration // how long not to dial after that
	dialErr error
	idle    []*clientConn            // for Lease
	open    map[*clientConn]struct{} // all of them
	closed  bool
}

// Dial returns a client of the server at addr (host:port). It does no I/O: the
// first operation connects, and after a failure the next one does so again.
func Dial(addr string, opts *ClientOptions) (*Client, error) {
	o, err := opts.filled()
	if _, _, aerr := net.SplitHostPort(addr); aerr != nil {
		err = errors.Join(err, fmt.Errorf("mcq: dial %q: %w", addr, aerr))
	}
	if err != nil {
		return nil, err
	}
	c := &Client{addr: addr, opt: o, open: make(map[*clientConn]struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Queue returns the named queue on the server.
func (c *Client) Queue(name string) *RemoteQueue {
	return &RemoteQueue{c: c, name: name, putOp: c.opt.Watchman.Operation(watchman.Producer, "mcq put "+name)}
}

// Drop is Broker.Drop on the server.
func (c *Client) Drop(ctx context.Context, name string) (there bool, err error) {
	if err := CheckName(name); err != nil {
		return false, err
	}
	err = c.command(ctx, 1, []byte("delete "+name+"\r\n"), func(line []byte) error {
		if string(line) == "DELETED" {
			return nil
		}
		return errorOf(line)
	})
	if errors.Is(err, ErrNotLeased) { // there, NOT_FOUND means this
		return false, nil
	}
	return err == nil, err
}

// Close closes the connections; what is under way fails with ErrClosed.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	open := slices.Collect(maps.Keys(c.open))
	c.idle, c.shared = nil, nil
	c.mu.Unlock()
	c.cancel()
	for _, k := range open {
		k.close(ErrClosed)
	}
	c.dials.Wait()
	return nil
}

const (
	backoffFirst = 20 * time.Millisecond
	backoffMost  = 500 * time.Millisecond
	maxIdle      = 16
	dialTimeout  = 2 * time.Second
)

// conn returns the shared connection, dialling if there is none. Callers wait for
// the one dial, each until its own ctx ends. Shortly after a failed dial it fails at
// once, so that a crowd of callers does not dial in turn.
func (c *Client) conn(ctx context.Context) (*clientConn, error) {
	c.mu.Lock()
	switch {
	case c.closed:
		c.mu.Unlock()
		return nil, ErrClosed
	case c.shared != nil && c.shared.failure() == nil:
		defer c.mu.Unlock()
		return c.shared, nil
	case c.backoff > 0 && time.Since(c.failed) < c.backoff:
		defer c.mu.Unlock()
		return nil, c.dialError(c.dialErr)
	}
	d := c.dialing
	if d == nil {
		d = &sharedDial{done: make(chan struct{})}
		c.dialing = d
		before := c.shared
		c.dials.Go(func() { c.dialShared(d, before) })
	}
	c.mu.Unlock()
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, c.dialError(ctx.Err())
	}
}

// sharedDial is a dial that everybody waits for who wants the shared connection.
type sharedDial struct {
	done chan struct{} // closed when it has ended, and the rest is set
	conn *clientConn
	err  error
}

// dialShared belongs to no caller: one that is in a hurry must not fail the others.
// Who waits at the connection before hears of its end first.
func (c *Client) dialShared(d *sharedDial, before *clientConn) {
	if before != nil {
		<-before.gone
	}
	k, err := c.dial(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(d.done)
	c.dialing = nil
	if err != nil {
		if d.err = c.dialError(err); c.closed { // which says nothing about the server
			return
		}
		c.failed, c.dialErr = time.Now(), err
		c.backoff = min(max(2*c.backoff, backoffFirst), backoffMost)
		c.backoff = c.backoff/2 + rand.N(c.backoff/2)
		return
	}
	c.backoff, c.shared, d.conn = 0, k, k
}

func (c *Client) dialError(err error) error {
	if err == ErrClosed {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrConnection, c.addr, err)
}

// dial connects; it gives up when ctx ends, after a while, or with the client.
func (c *Client) dial(ctx context.Context) (*clientConn, error) {
	dialing, cancel := context.WithTimeout(ctx, min(c.opt.Timeout, dialTimeout))
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	var d net.Dialer
	conn, err := d.DialContext(dialing, "tcp", c.addr)
	if err == nil {
		conn, err = c.secure(dialing, conn)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil && c.closed:
		conn.Close()
		return nil, ErrClosed
	case c.closed:
		return nil, ErrClosed
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	}
	k := newClientConn(conn, c.opt.MaxMessage, c.forget)
	c.open[k] = struct{}{}
	return k, nil
}

// secure starts TLS and says who we are, as far as that is wanted. It closes
// conn if it fails.
func (c *Client) secure(ctx context.Context, plain net.Conn) (conn net.Conn, err error) {
	defer context.AfterFunc(ctx, func() { plain.SetDeadline(time.Unix(1, 0)) })()
	defer func() {
		if err != nil {
			plain.Close()
		}
	}()
	conn = plain
	if c.opt.TLS != nil {
		config := c.opt.TLS.Clone()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(c.addr)
		}
		secured := tls.Client(plain, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secured
	}
	if c.opt.User == "" {
		return conn, nil
	}
	_, err = fmt.Fprintf(conn, "set auth 0 0 %d\r\n%s %s\r\n", len(c.opt.User)+1+len(c.opt.Password), c.opt.User, c.opt.Password)
	if err != nil {
		return nil, err
	}
	// The reply is as long as this, or it is an error; nothing else comes yet.
	reply := make([]byte, 64)
	n := 0
	for err == nil && n < len(reply) && !bytes.HasSuffix(reply[:n], []byte("\n")) {
		var k int
		k, err = conn.Read(reply[n:])
		n += k
	}
	if line := strings.TrimRight(string(reply[:n]), "\r\n"); line != "STORED" {
		if line == "" && err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %q", ErrServer, line)
	}
	return conn, nil
}

func (c *Client) forget(k *clientConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, k)
}

// take returns a connection for one caller alone.
func (c *Client) take(ctx context.Context) (*clientConn, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	for n := len(c.idle); n > 0; n = len(c.idle) {
		k := c.idle[n-1]
		c.idle = c.idle[:n-1]
		if k.failure() == nil {
			c.mu.Unlock()
			return k, nil
		}
	}
	c.mu.Unlock()
	k, err := c.dial(ctx)
	if err != nil {
		return nil, c.dialError(err)
	}
	return k, nil
}

// put gives a connection back.
func (c *Client) put(k *clientConn) {
	c.mu.Lock()
	if !c.closed && len(c.idle) < maxIdle && k.failure() == nil {
		c.idle = append(c.idle, k)
		k = nil
	}
	c.mu.Unlock()
	if k != nil {
		k.close(ErrClosed)
	}
}
