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
// While a server does not answer, a circuit breaker makes calls fail at once and
// the read path goes on without it. What was invalidated meanwhile can still be
// there when it comes back: the TTL bounds for how long.
package memcachedtier

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/heddle-go/heddle/ssdcache"
	"github.com/heddle-go/heddle/ssdcache/internal/guard"
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
	client   *memcache.Client
	guard    *guard.Guard
	maxValue int
}

var _ ssdcache.Tier = (*Tier)(nil)

// Items are told apart by their flags.
const (
	flagValue  = 0x7377 // a value
	flagMarker = 0x736d // its value is about to come
)

// New makes a tier of the servers, which are host:port; keys are spread over
// them. It connects on first use.
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
	var list memcache.ServerList
	if err := list.SetServers(servers...); err != nil {
		errs = append(errs, fmt.Errorf("memcachedtier: %w", err))
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
	client := memcache.NewFromSelector(&list)
	client.Timeout = o.Timeout
	client.MaxIdleConns = o.Connections
	return &Tier{client, guard.New("memcachedtier", uint32(o.Failures), o.Pause), o.MaxValue}, nil
}

// Get implements ssdcache.Tier.
func (t *Tier) Get(_ context.Context, key string, lease time.Duration) (value []byte, token string, err error) {
	key = wireKey(key)
	leased := false
	err = t.guard.Do(func() error {
		it, err := t.client.Get(key)
		if errors.Is(err, memcache.ErrCacheMiss) {
			token, err = t.lease(key, lease)
			leased = token == ""
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
	return value, token, err
}

// lease puts a marker in the place of a value and returns its token; none if
// somebody else was faster.
func (t *Tier) lease(key string, lease time.Duration) (token string, err error) {
	var mine [8]byte
	_, _ = rand.Read(mine[:]) // never fails
	err = t.client.Add(&memcache.Item{Key: key, Value: mine[:], Flags: flagMarker, Expiration: max(seconds(lease), 1)})
	if errors.Is(err, memcache.ErrNotStored) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	it, err := t.client.Get(key) // for its cas
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
	cas, err := strconv.ParseUint(token, 10, 64)
	if err != nil {
		return fmt.Errorf("memcachedtier: token %.20q: %w", token, err)
	}
	if len(value) > t.maxValue {
		return t.Delete(context.Background(), key)
	}
	return t.guard.Do(func() error {
		err := t.client.CompareAndSwap(&memcache.Item{Key: wireKey(key), Value: value, Flags: flagValue, Expiration: seconds(ttl), CasID: cas})
		if errors.Is(err, memcache.ErrCASConflict) || errors.Is(err, memcache.ErrCacheMiss) || errors.Is(err, memcache.ErrNotStored) {
			return nil // the token does not stand any more
		}
		return err
	})
}

// Delete implements ssdcache.Tier.
func (t *Tier) Delete(_ context.Context, key string) error {
	return t.guard.Do(func() error {
		if err := t.client.Delete(wireKey(key)); err != nil && !errors.Is(err, memcache.ErrCacheMiss) {
			return err
		}
		return nil
	})
}

// Close closes the idle connections.
func (t *Tier) Close() error { return t.client.Close() }

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
