package zkregistry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// ErrClosed is returned by a closed Registry.
var ErrClosed = errors.New("zkregistry: closed")

// Options configures Open. The zero value is ready to use.
type Options struct {
	// SessionTimeout is how long ZooKeeper keeps what was announced when it hears
	// nothing. 0 means 10 s; ZooKeeper sets bounds of its own.
	SessionTimeout time.Duration

	// Application is written into the nodes of servers and clients. "" writes nothing.
	Application string

	// LocalHost is this machine's address, for the nodes of clients. "" means its
	// first one that is no loopback.
	LocalHost string

	// Java makes the nodes Java-serialized strings, for Java clients whose
	// registry is "zookeeper" and not "zk".
	Java bool

	Logger *slog.Logger // nil means slog.Default()
}

// Registry is a connection to ZooKeeper. It is safe for concurrent use.
type Registry struct {
	opt  Options
	conn *zk.Conn

	ctx    context.Context // done when the registry closes
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	announced map[string]*announced // by path

	stats counters
}

// Open connects to ZooKeeper, given as host:port of one or more servers. It
// returns an error if none of them has given a session when ctx ends.
func Open(ctx context.Context, servers []string, opts *Options) (*Registry, error) {
	r := &Registry{announced: make(map[string]*announced)}
	if opts != nil {
		r.opt = *opts
	}
	if r.opt.SessionTimeout == 0 {
		r.opt.SessionTimeout = 10 * time.Second
	}
	if r.opt.LocalHost == "" {
		r.opt.LocalHost = localHost()
	}
	if r.opt.Logger == nil {
		r.opt.Logger = slog.Default()
	}
	var errs []error
	if strings.ContainsAny(r.opt.LocalHost, "/\x00") {
		errs = append(errs, fmt.Errorf("zkregistry: Options.LocalHost %q: want a host", r.opt.LocalHost))
	}
	if r.opt.SessionTimeout < 0 {
		errs = append(errs, fmt.Errorf("zkregistry: Options.SessionTimeout %v: negative", r.opt.SessionTimeout))
	}
	if len(servers) == 0 {
		errs = append(errs, errors.New("zkregistry: no servers given"))
	}
	for _, s := range servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			errs = append(errs, fmt.Errorf("zkregistry: server %q: %w", s, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	sessions := make(chan struct{}, 1)
	conn, events, err := zk.Connect(servers, r.opt.SessionTimeout, zk.WithLogger(silent{}), zk.WithDialer(r.dial), zk.WithEventCallback(func(e zk.Event) {
		if e.Type == zk.EventSession && e.State == zk.StateHasSession {
			select {
			case sessions <- struct{}{}:
			default:
			}
		}
	}))
	if err != nil {
		return nil, fmt.Errorf("zkregistry: %w", err)
	}
	r.conn = conn
	r.ctx, r.cancel = context.WithCancel(context.Background())
	select {
	case <-sessions:
	case <-ctx.Done():
		r.cancel()
		conn.Close()
		return nil, fmt.Errorf("zkregistry: no session with %s: %w", strings.Join(servers, ", "), ctx.Err())
	}
	r.wg.Go(func() { // the channel is closed with the connection
		for range events {
		}
	})
	r.wg.Go(func() { r.keepAnnounced(sessions) })
	return r, nil
}

// dial connects to a server.
func (r *Registry) dial(network, addr string, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout(network, addr, timeout)
	if err != nil {
		return nil, err
	}
	return &impatient{conn, r.opt.SessionTimeout}, nil
}

// impatient bounds how long a read takes. A ZooKeeper server that is just starting
// accepts connections on which it never answers; the client would wait for ten
// times as long.
type impatient struct {
	net.Conn
	most time.Duration
}

func (c *impatient) SetReadDeadline(t time.Time) error {
	if most := time.Now().Add(c.most); t.After(most) {
		t = most
	}
	return c.Conn.SetReadDeadline(t)
}

// silent drops the client's chatter; what matters comes as errors.
type silent struct{}

func (silent) Printf(string, ...any) {}

// Close leaves ZooKeeper, and with it what was announced, and waits for the
// goroutines. Updates of watches stop.
func (r *Registry) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.conn.Close()
	r.wg.Wait()
	return nil
}

// again waits a moment before another try; it returns false when there is to be none.
func (r *Registry) again(ctx context.Context, try int) bool {
	t := time.NewTimer(min(50*time.Millisecond<<min(try, 5), time.Second))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-r.ctx.Done():
	}
	return false
}

// servicePath is where the nodes of a service are.
func servicePath(group, service string) (string, error) {
	for _, s := range []string{group, service} {
		if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\x00") {
			return "", fmt.Errorf("zkregistry: group %q, service %q: want names without slashes", group, service)
		}
	}
	return "/motan/" + group + "/" + service + "/server", nil
}
