// Package redistier makes Redis, alone or as a cluster, the shared tier of a
// tiered read path: several processes read and fill it, each over a disk of its
// own.
//
//	tier, err := redistier.New(&redis.UniversalOptions{Addrs: []string{"10.0.0.1:6379"}}, nil)
//	...
//	users, err := ssdcache.NewTiered(cache, loadUser, &ssdcache.TieredOptions{Name: "users", Tier: tier})
//
// A key that nobody has gets a marker, by SET NX, and who put it there loads;
// the value replaces the marker by a script, which does nothing if the key was
// deleted or filled meanwhile. A hit costs one round trip, a miss two and a fill
// one. Each command is about one key, so a cluster takes them all.
//
// While a server does not answer, a circuit breaker makes calls fail at once and
// the read path goes on without it. A cluster has a breaker for each sixteenth of
// its slots, so that a master that is lost takes only its own keys with it. What was invalidated meanwhile can still be
// there when it comes back: the TTL bounds for how long.
package redistier

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/heddle-go/heddle/ssdcache"
	"github.com/heddle-go/heddle/ssdcache/internal/guard"
)

// Options configures New. The zero value is ready to use.
type Options struct {
	// Prefix is put in front of the keys. The default is "ssdcache:".
	Prefix string

	// Timeout bounds each call with all its retries. 0 means 250 ms.
	Timeout time.Duration

	// Failures in a row are how many open the breaker. 0 means 5.
	Failures int

	// Pause is how long the open breaker waits until it lets a call try. 0 means 2 s.
	Pause time.Duration
}

// Tier implements ssdcache.Tier.
type Tier struct {
	client  redis.UniversalClient
	guards  []*guard.Guard // one, or of a cluster one for each run of slots
	prefix  string
	timeout time.Duration
}

var _ ssdcache.Tier = (*Tier)(nil)

// New makes a tier of a server, of a cluster if there are several addresses, or
// of what else the options say. It connects on first use.
func New(server *redis.UniversalOptions, opts *Options) (*Tier, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	var errs []error
	if server == nil || len(server.Addrs) == 0 {
		errs = append(errs, errors.New("redistier: no servers"))
	}
	if o.Timeout < 0 || o.Failures < 0 || o.Pause < 0 {
		errs = append(errs, fmt.Errorf("redistier: Options %+v: want none below 0", o))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if o.Prefix == "" {
		o.Prefix = "ssdcache:"
	}
	if o.Timeout == 0 {
		o.Timeout = 250 * time.Millisecond
	}
	if o.Failures == 0 {
		o.Failures = 5
	}
	if o.Pause == 0 {
		o.Pause = 2 * time.Second
	}
	u := *server
	u.ContextTimeoutEnabled = true // or Timeout does not bound anything
	for _, d := range []*time.Duration{&u.DialTimeout, &u.ReadTimeout, &u.WriteTimeout, &u.PoolTimeout} {
		if *d == 0 {
			*d = o.Timeout
		}
	}
	t := &Tier{client: redis.NewUniversalClient(&u), prefix: o.Prefix, timeout: o.Timeout}
	guards := 1
	if _, ok := t.client.(*redis.ClusterClient); ok {
		guards = clusterGuards
	}
	for range guards {
		t.guards = append(t.guards, guard.New("redistier", uint32(o.Failures), o.Pause))
	}
	return t, nil
}

const clusterGuards = 16

// guard is the breaker of a key, prefix included.
func (t *Tier) guard(key string) *guard.Guard {
	if len(t.guards) == 1 {
		return t.guards[0]
	}
	return t.guards[slot(key)*len(t.guards)/slots]
}

// What a key holds is a letter, a token and, behind 'V', the value; 'L' is the
// marker of who loads it.
const tokenSize = 16

func newToken() string {
	var b [tokenSize / 2]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// fill replaces what has the token ARGV[1] by ARGV[2], for ARGV[3] ms or ever.
var fill = redis.NewScript(`
if redis.call('GETRANGE', KEYS[1], 1, 16) ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then
	redis.call('SET', KEYS[1], ARGV[2])
else
	redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1`)

// Get implements ssdcache.Tier.
func (t *Tier) Get(ctx context.Context, key string, lease time.Duration) (value []byte, token string, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	key = t.prefix + key
	leased := false
	err = t.guard(key).Do(func() error {
		held, err := t.client.Get(ctx, key).Bytes()
		if errors.Is(err, redis.Nil) {
			token = newToken()
			ok, err := t.client.SetNX(ctx, key, "L"+token, max(lease, time.Millisecond)).Result()
			leased = err == nil && !ok
			return err
		}
		if err != nil {
			return err
		}
		if len(held) < 1+tokenSize || held[0] != 'V' {
			leased = true
			return nil
		}
		token, value = string(held[1:1+tokenSize]), held[1+tokenSize:]
		return nil
	})
	if err == nil && leased {
		err = ssdcache.ErrLeased
	}
	if err != nil {
		return nil, "", err
	}
	return value, token, nil
}

// Fill implements ssdcache.Tier.
func (t *Tier) Fill(ctx context.Context, key string, value []byte, ttl time.Duration, token string) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	ms := int64(0)
	if ttl > 0 {
		ms = max(ttl.Milliseconds(), 1)
	}
	held := append(append(make([]byte, 0, 1+tokenSize+len(value)), "V"+newToken()...), value...)
	key = t.prefix + key
	return t.guard(key).Do(func() error {
		return fill.Run(ctx, t.client, []string{key}, token, held, ms).Err()
	})
}

// Delete implements ssdcache.Tier.
func (t *Tier) Delete(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	key = t.prefix + key
	return t.guard(key).Do(func() error { return t.client.Del(ctx, key).Err() })
}

// Close closes the connections.
func (t *Tier) Close() error { return t.client.Close() }
