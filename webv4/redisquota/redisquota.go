// Package redisquota is a webv4.QuotaStore in Redis (5 or later): processes that
// share one count a caller's calls together. A call costs one round trip, whatever
// the number of its quotas.
//
//	store := redisquota.New(redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true}), nil)
//	api, err := webv4.New(&webv4.Options{QuotaStore: store, Quotas: "user=1000/h,ip=10000/h"})
//
// The client needs ContextTimeoutEnabled, or it waits longer than
// webv4.Options.QuotaTimeout for a Redis that is silent.
//
// Each caller and quota is one key: a 64-bit time, by the generic cell rate
// algorithm, that expires when the whole limit is there again. Times are Redis's
// own, so clocks of processes do not matter. All keys of a call must be in one
// place: with Redis Cluster, Options.Prefix needs a hash tag such as {quota}.
package redisquota

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/heddle-go/heddle/webv4"
)

// Options configures New.
type Options struct {
	// Prefix is put before each key. "" means "webv4:quota:".
	Prefix string
}

// Store is a webv4.QuotaStore. It is safe for concurrent use and owns nothing:
// close the client yourself.
type Store struct {
	client redis.Scripter
	prefix string
}

// New returns a store that uses a client, single, ring or cluster.
func New(client redis.Scripter, opts *Options) *Store {
	s := &Store{client: client, prefix: "webv4:quota:"}
	if opts != nil && opts.Prefix != "" {
		s.prefix = opts.Prefix
	}
	return s
}

// script looks at all keys and then spends on all or on none. A key holds the
// time, in microseconds, at which its caller will have used nothing. Numbers up
// to 2^53 are exact in Lua.
var script = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local full, ok = {}, true
for i = 1, #KEYS do
  local window, step, cost = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
  local f = tonumber(redis.call('GET', KEYS[i]) or 0)
  if f < now then f = now end
  full[i] = f
  if f + step * cost - now > window then ok = false end
end
local out = {}
for i = 1, #KEYS do
  local window, step, cost = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
  local f = full[i]
  local over = f + step * cost - now - window
  if ok and cost > 0 then
    f = f + step * cost
    redis.call('SET', KEYS[i], string.format('%.0f', f), 'PX', math.ceil((f - now) / 1000))
  end
  out[#out+1] = over > 0 and 0 or 1
  out[#out+1] = math.floor((window - (f - now)) / step)
  out[#out+1] = f - now
  out[#out+1] = over > 0 and over or 0
end
return out
`)

// Spend implements webv4.QuotaStore.
func (s *Store) Spend(ctx context.Context, charges []webv4.Charge) ([]webv4.Standing, error) {
	keys := make([]string, len(charges))
	args := make([]any, 0, 3*len(charges))
	for i, c := range charges {
		keys[i] = s.prefix + c.Key
		window := c.Window.Microseconds()
		args = append(args, window, max(window/int64(c.Limit), 1), c.Cost)
	}
	out, err := script.Run(ctx, s.client, keys, args...).Int64Slice()
	if err != nil {
		return nil, fmt.Errorf("redisquota: %w", err)
	}
	if len(out) != 4*len(charges) {
		return nil, fmt.Errorf("redisquota: %d numbers for %d charges", len(out), len(charges))
	}
	list := make([]webv4.Standing, len(charges))
	for i := range list {
		o := out[4*i:]
		list[i] = webv4.Standing{
			OK: o[0] == 1, Remaining: max(int(o[1]), 0), Reset: time.Duration(o[2]) * time.Microsecond, Retry: time.Duration(o[3]) * time.Microsecond,
		}
	}
	return list, nil
}
