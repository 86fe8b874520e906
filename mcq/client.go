package mcq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
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
	return out, errors.Join(errs...)
}

// Client is a Server seen from elsewhere. All goroutines share one connection
// for putting and acknowledging, with their commands combined, and each Lease
// that waits has one of its own. It is safe for concurrent use.
type Client struct {
	addr string
	opt  ClientOptions

	mu      sync.Mutex
	shared  *clientConn
	failed  time.Time     // when dialling last failed
	backoff time.Duration // how long not to dial after that
	dialErr error
	idle    []*clientConn // for Lease
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
	return &Client{addr: addr, opt: o}, nil
}

// Queue returns the named queue on the server.
func (c *Client) Queue(name string) *RemoteQueue {
	return &RemoteQueue{c: c, name: name, putOp: c.opt.Watchman.Operation(watchman.Producer, "mcq put "+name)}
}

// Close closes the connections; what is under way fails with ErrClosed.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	conns := c.idle
	if c.shared != nil {
		conns = append(conns, c.shared)
	}
	c.idle, c.shared = nil, nil
	c.mu.Unlock()
	for _, k := range conns {
		k.close(ErrClosed)
	}
	return nil
}

const (
	backoffFirst = 20 * time.Millisecond
	backoffMost  = 500 * time.Millisecond
	maxIdle      = 16
)

// conn returns the shared connection, dialling if there is none. Shortly after
// a failed dial it fails at once, so that a crowd of callers does not dial in turn.
func (c *Client) conn(ctx context.Context) (*clientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.shared != nil && c.shared.failure() == nil {
		return c.shared, nil
	}
	if c.backoff > 0 && time.Since(c.failed) < c.backoff {
		return nil, fmt.Errorf("%w: %s: %w", ErrConnection, c.addr, c.dialErr)
	}
	k, err := c.dial(ctx)
	if err != nil {
		c.failed, c.dialErr = time.Now(), err
		c.backoff = min(max(2*c.backoff, backoffFirst), backoffMost)
		c.backoff = c.backoff/2 + rand.N(c.backoff/2)
		return nil, fmt.Errorf("%w: %s: %w", ErrConnection, c.addr, err)
	}
	c.backoff, c.shared = 0, k
	return k, nil
}

func (c *Client) dial(ctx context.Context) (*clientConn, error) {
	d := net.Dialer{Timeout: min(c.opt.Timeout, 2*time.Second)}
	conn, err := d.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return nil, err
	}
	return newClientConn(conn, c.opt.MaxMessage), nil
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
		return nil, fmt.Errorf("%w: %s: %w", ErrConnection, c.addr, err)
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
