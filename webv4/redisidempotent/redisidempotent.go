// Package redisidempotent is a webv4.IdempotencyStore in Redis (5 or later):
// a request that is sent again to another process is not done again.
//
//	store := redisidempotent.New(redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true}), nil)
//	api, err := webv4.New(&webv4.Options{IdempotencyStore: store})
//
// The client needs ContextTimeoutEnabled, or it waits longer than Options.Timeout
// for a Redis that is silent. A key of Redis holds a fingerprint and, when the request is done, its reply, and
// expires by itself. Beginning costs one round trip and finishing another; the key of
// a handler that takes longer than its time is renewed every ten seconds. If Redis
// does not answer, requests with an Idempotency-Key are refused (10002): done
// twice would be worse. If Redis loses its data, what was done is forgotten.
package redisidempotent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/heddle-go/heddle/webv4"
)

// Options configures New.
type Options struct {
	// Prefix is put before each key. "" means "webv4:once:".
	Prefix string

	// Timeout is how long Redis may take. 0 means 50 ms.
	Timeout time.Duration

	// MaxReply is the largest body that is kept, in bytes; of larger ones only is
	// that they were done. 0 means 256 KiB.
	MaxReply int
}

// Store is a webv4.IdempotencyStore. It is safe for concurrent use and owns
// nothing: close the client yourself.
type Store struct {
	client redis.Cmdable
	opt    Options
}

// New returns a store that uses a client, single, ring or cluster.
func New(client redis.Cmdable, opts *Options) *Store {
	s := &Store{client: client}
	if opts != nil {
		s.opt = *opts
	}
	if s.opt.Prefix == "" {
		s.opt.Prefix = "webv4:once:"
	}
	if s.opt.Timeout == 0 {
		s.opt.Timeout = 50 * time.Millisecond
	}
	if s.opt.MaxReply == 0 {
		s.opt.MaxReply = 256 << 10
	}
	return s
}

// Begin implements webv4.IdempotencyStore.
func (s *Store) Begin(ctx context.Context, key string, fingerprint [32]byte, hold time.Duration) (*webv4.IdempotentReply, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	claim, err := claimOf(fingerprint)
	if err != nil {
		return nil, err
	}
	// SET NX GET is Redis 7; this is one round trip as well.
	var set *redis.BoolCmd
	var get *redis.StringCmd
	_, err = s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		set = p.SetNX(ctx, s.opt.Prefix+key, claim, hold)
		get = p.Get(ctx, s.opt.Prefix+key)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("redisidempotent: %w", err)
	}
	if set.Val() {
		return nil, nil
	}
	r := &webv4.IdempotentReply{}
	if err := json.Unmarshal([]byte(get.Val()), r); err != nil {
		return nil, fmt.Errorf("redisidempotent: what is kept cannot be read: %w", err)
	}
	return r, nil
}

// claimOf is what a key holds while its request is under way.
func claimOf(fingerprint [32]byte) ([]byte, error) {
	claim, err := json.Marshal(&webv4.IdempotentReply{Fingerprint: fingerprint})
	if err != nil {
		return nil, fmt.Errorf("redisidempotent: %w", err)
	}
	return claim, nil
}

// renew lets a claim live longer, but nothing that has come in its place.
var renew = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
`)

// Renew implements webv4.IdempotencyStore.
func (s *Store) Renew(ctx context.Context, key string, fingerprint [32]byte, hold time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	claim, err := claimOf(fingerprint)
	if err != nil {
		return err
	}
	held, err := renew.Run(ctx, s.client, []string{s.opt.Prefix + key}, claim, hold.Milliseconds()).Bool()
	switch {
	case err != nil:
		return fmt.Errorf("redisidempotent: %w", err)
	case !held:
		return errors.New("redisidempotent: the claim is gone")
	}
	return nil
}

// free deletes a claim, but no reply that somebody else has put in its place.
var free = redis.NewScript(`
local kept = redis.call('GET', KEYS[1])
if kept and not cjson.decode(kept).Done then redis.call('DEL', KEYS[1]) end
return 1
`)

// Finish implements webv4.IdempotencyStore.
func (s *Store) Finish(ctx context.Context, key string, r *webv4.IdempotentReply, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	if r == nil {
		if err := free.Run(ctx, s.client, []string{s.opt.Prefix + key}).Err(); err != nil {
			return fmt.Errorf("redisidempotent: %w", err)
		}
		return nil
	}
	kept := *r
	if len(kept.Body) > s.opt.MaxReply {
		kept.Status, kept.Body = 0, nil
	}
	data, err := json.Marshal(&kept)
	if err != nil {
		return fmt.Errorf("redisidempotent: %w", err)
	}
	if err := s.client.Set(ctx, s.opt.Prefix+key, data, ttl).Err(); err != nil {
		return fmt.Errorf("redisidempotent: %w", err)
	}
	return nil
}
