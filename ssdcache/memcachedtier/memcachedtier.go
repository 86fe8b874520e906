// Package memcachedtier makes memcached the shared tier of a tiered read path:
// several processes read and fill it, each over a disk of its own.
//
//	tier, err := memcachedtier.New([]string{"10.0.0.1:11211", "10.0.0.2:11211"}, nil)
//	...
//	users, err := ssdcache.NewTiered(cache, loadUser, &ssdcache.TieredOptions{Name: "users", Tier: tier})
//
// A key that nobody has gets a marker, by add, and who put it there loads; the
// value replaces the marker by cas, which fails if the key was deleted
// meanwhile. These are the leases of Nishtala et al., "Scaling Memcache at
// Facebook", NSDI 2013, in commands that every memcached has. A hit costs one
// round trip, a miss three and a fill one.
//
// Keys are placed on the servers as libketama does, so a server more or less
// moves only its share. The servers may be memcached, or examples/ssdcached for
// a cache on many disks.
//
// A circuit breaker takes a server that does not answer out of the ring until it
// does again; its keys go to the next ones meanwhile. What was invalidated
// meanwhile can still be there when it comes back: Invalidate returns an error
// then, and the TTL bounds for how long. Without any server calls fail at once,
// and the read path goes on without the tier.
package memcachedtier

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/heddle-go/heddle/ssdcache"
	"github.com/heddle-go/heddle/ssdcache/internal/guard"
	"github.com/heddle-go/heddle/ssdcache/internal/ketama"
)

// Options configures New. The zero value is ready to use.
type Options struct {
	// Timeout bounds each round trip. 0 means 250 ms.
	Timeout time.Duration

	// Connections is how many idle ones to a server are kept. 0 means 16.
	Connections int

	// MaxValue is the largest value that is sent, in bytes; memcached's own limit
	// is its option -I. 0 means 1,000,000.
	MaxValue int

	// Failures in a row are how many open the breaker. 0 means 5.
	Failures int

	// Pause is how long the open breaker waits until it lets a call try. 0 means 2 s.
	Pause time.Duration
}

// Tier implements ssdcache.Tier.
type Tier struct {
	ring     *ketama.Ring
	nodes    []node
	maxValue int
}

// node is one server.
type node struct {
	client *memcache.Client
	guard  *guard.Guard
}

var _ ssdcache.Tier = (*Tier)(nil)

// Items are told apart by their flags.
const (
	flagValue  = 0x7377 // a value
	flagMarker = 0x736d // its value is about to come
)

// New makes a tier of the servers, which are host:port. It connects on first use.
func New(servers []string, opts *Options) (*Tier, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	var errs []error
	if len(servers) == 0 {
		errs = append(errs, errors.New("memcachedtier: no servers"))
	}
	if o.Timeout < 0 || o.Connections < 0 || o.MaxValue < 0 || o.Failures < 0 || o.Pause < 0 {
		errs = append(errs, fmt.Errorf("memcachedtier: Options %+v: want none below 0", o))
	}
	for i, addr := range servers {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			errs = append(errs, fmt.Errorf("memcachedtier: server %q: %w", addr, err))
		}
		if slices.Contains(servers[:i], addr) {
			errs = append(errs, fmt.Errorf("memcachedtier: server %q twice", addr))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	or := func(p *int, def int) {
		if *p == 0 {
			*p = def
		}
	}
	or(&o.Connections, 16)
	or(&o.MaxValue, 1_000_000)
	or(&o.Failures, 5)
	if o.Timeout == 0 {
		o.Timeout = 250 * time.Millisecond
	}
	if o.Pause == 0 {
		o.Pause = 2 * time.Second
	}
	t := &Tier{ring: ketama.New(servers), maxValue: o.MaxValue}
	for _, addr := range servers {
		client := memcache.NewFromSelector(&server{addr: addr})
		client.Timeout = o.Timeout
		client.MaxIdleConns = o.Connections
		t.nodes = append(t.nodes, node{client, guard.New("memcachedtier: "+addr, uint32(o.Failures), o.Pause)})
	}
	return t, nil
}

// server is the one that a client has. Its name is looked up for each new
// connection, not when the client is made.
type server struct{ addr string }

func (s *server) Network() string                     { return "tcp" }
func (s *server) String() string                      { return s.addr }
func (s *server) PickServer(string) (net.Addr, error) { return s, nil }
func (s *server) Each(f func(net.Addr) error) error   { return f(s) }

// pick returns the server of a key, the first on the ring whose guard is not
// open, and whether that is its home; -1 if there is none.
func (t *Tier) pick(key string) (n int, home bool) {
	asked := 0
	n = t.ring.Pick(key, func(n int) bool { asked++; return !t.nodes[n].guard.Open() })
	return n, asked == 1
}

// errNone is returned while no server answers.
var errNone = fmt.Errorf("memcachedtier: no server answers: %w", guard.ErrOpen)

// Get implements ssdcache.Tier.
func (t *Tier) Get(_ context.Context, key string, lease time.Duration) (value []byte, token string, err error) {
	key = wireKey(key)
	at, _ := t.pick(key)
	if at < 0 {
		return nil, "", errNone
	}
	n, leased := t.nodes[at], false
	err = n.guard.Do(func() error {
		it, err := n.client.Get(key)
		if errors.Is(err, memcache.ErrCacheMiss) {
			token, err = n.lease(key, lease)
			leased = err == nil && token == ""
			return err
		}
		if err != nil {
			return err
		}
		if it.Flags != flagValue {
			leased = true
			return nil
		}
		if value, token = it.Value, strconv.FormatUint(it.CasID, 10); value == nil {
			value = []byte{}
		}
		return nil
	})
	if err == nil && leased {
		err = ssdcache.ErrLeased
	}
	if err != nil {
		return nil, "", err
	}
	return value, strconv.Itoa(at) + ":" + token, nil
}

// lease puts a marker in the place of a value and returns its token; none if
// somebody else was faster.
func (n node) lease(key string, lease time.Duration) (token string, err error) {
	var mine [8]byte
	_, _ = rand.Read(mine[:]) // never fails
	err = n.client.Add(&memcache.Item{Key: key, Value: mine[:], Flags: flagMarker, Expiration: max(seconds(lease), 1)})
	if errors.Is(err, memcache.ErrNotStored) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	it, err := n.client.Get(key) // for its cas
	if errors.Is(err, memcache.ErrCacheMiss) {
		return "", nil // deleted already
	}
	if err != nil || it.Flags != flagMarker || string(it.Value) != string(mine[:]) {
		return "", err
	}
	return strconv.FormatUint(it.CasID, 10), nil
}

// Fill implements ssdcache.Tier.
func (t *Tier) Fill(_ context.Context, key string, value []byte, ttl time.Duration, token string) error {
	server, unique, _ := strings.Cut(token, ":")
	at, err := strconv.Atoi(server)
	cas, cerr := strconv.ParseUint(unique, 10, 64)
	if err = errors.Join(err, cerr); err != nil {
		return fmt.Errorf("memcachedtier: token %.30q: %w", token, err)
	}
	key = wireKey(key)
	if now, _ := t.pick(key); now != at {
		return nil // the token was another server's
	}
	n := t.nodes[at]
	return n.guard.Do(func() error {
		if len(value) > t.maxValue {
			return n.delete(key) // what is there is older
		}
		err := n.client.CompareAndSwap(&memcache.Item{Key: key, Value: value, Flags: flagValue, Expiration: seconds(ttl), CasID: cas})
		if errors.Is(err, memcache.ErrCASConflict) || errors.Is(err, memcache.ErrCacheMiss) || errors.Is(err, memcache.ErrNotStored) {
			return nil // the token does not stand any more
		}
		return err
	})
}

// Delete implements ssdcache.Tier. While the key's own server is out of the ring
// it deletes from the one that stands in, and fails.
func (t *Tier) Delete(_ context.Context, key string) error {
	key = wireKey(key)
	at, home := t.pick(key)
	if at < 0 {
		return errNone
	}
	n := t.nodes[at]
	err := n.guard.Do(func() error { return n.delete(key) })
	if err == nil && !home {
		err = fmt.Errorf("memcachedtier: the value may come back with its server: %w", guard.ErrOpen)
	}
	return err
}

func (n node) delete(key string) error {
	if err := n.client.Delete(key); err != nil && !errors.Is(err, memcache.ErrCacheMiss) {
		return err
	}
	return nil
}

// Close closes the idle connections.
func (t *Tier) Close() error {
	var errs []error
	for _, n := range t.nodes {
		errs = append(errs, n.client.Close())
	}
	return errors.Join(errs...)
}

// seconds is a duration in whole seconds, rounded up; beyond 30 days memcached
// takes them for a date.
func seconds(d time.Duration) int32 {
	if d <= 0 {
		return 0
	}
	const month = 30 * 24 * 3600
	s := int64((d + time.Second - 1) / time.Second)
	if s > month {
		return int32(min(time.Now().Unix()+s, 1<<31-1))
	}
	return int32(s)
}

// wireKey is a key as memcached takes it: up to 250 visible bytes.
func wireKey(key string) string {
	ok := len(key) > 0 && len(key) <= 200 && key[0] != '#'
	for i := 0; ok && i < len(key); i++ {
		ok = key[i] > ' ' && key[i] != 0x7f
	}
	if ok {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "#" + hex.EncodeToString(sum[:])
}
