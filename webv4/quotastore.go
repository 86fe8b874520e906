package webv4

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// QuotaStore counts calls for several processes together. The rules:
//
//  1. Spend looks at all charges at one moment. If each has room for its cost,
//     all are spent; else none is.
//  2. A charge allows Limit calls in any Window, spread evenly with bursts up to
//     the whole limit. The key is opaque; the same key always has the same
//     limit and window.
//  3. The standings are in the order of the charges, as they are afterwards.
//  4. It honours ctx, and is called by many goroutines at once.
type QuotaStore interface {
	Spend(ctx context.Context, charges []Charge) ([]Standing, error)
}

// Charge is one quota that a call counts against.
type Charge struct {
	Key    string
	Limit  int
	Window time.Duration
	Cost   int // 1, or 0 to look only
}

// Standing is what a quota says about a caller.
type Standing struct {
	OK        bool
	Remaining int           // calls left now
	Reset     time.Duration // until the whole limit is there again
	Retry     time.Duration // until the next call is allowed, if not OK
}

// countShared asks the store. It returns false if this process must count by
// itself.
func (a *API) countShared(ctx context.Context, c *call, op *operation) (done bool, err error) {
	charges := make([]Charge, 0, len(op.quotas))
	quotas := make([]*quota, 0, len(op.quotas))
	for _, q := range op.quotas {
		if key, ok := c.quotaKey(q); ok {
			charges = append(charges, q.charge(key, 1))
			quotas = append(quotas, q)
		}
	}
	if len(charges) == 0 {
		return true, nil
	}
	list, err := a.ask(ctx, charges)
	if err != nil {
		if a.opt.QuotaFailClosed {
			return true, Wrap(CodeUnavailable, err)
		}
		return false, nil
	}
	var tightest standing
	for i := range list {
		s := quotas[i].standing(&list[i])
		if !s.ok {
			if key, ok := c.quotaKey(s.quota); ok && s.quota.by == byIP {
				s.quota.fill(key, c.began, s.retry)
			}
			return true, a.exhausted(c, op, &s)
		}
		if tightest.quota == nil || s.remaining < tightest.remaining {
			tightest = s
		}
	}
	c.standing(op, &tightest)
	return true, nil
}

// ask asks the store, unless it is away.
func (a *API) ask(ctx context.Context, charges []Charge) ([]Standing, error) {
	if a.store.away() {
		a.stats.storeFailed.Add(1)
		return nil, errStoreAway
	}
	within, cancel := context.WithTimeout(ctx, a.opt.QuotaTimeout)
	defer cancel()
	list, err := a.opt.QuotaStore.Spend(within, charges)
	if err == nil && len(list) != len(charges) {
		err = fmt.Errorf("webv4: the quota store gave %d standings for %d charges", len(list), len(charges))
	}
	switch {
	case err == nil:
		a.store.answered()
	case ctx.Err() == nil: // else it is the client that is away
		a.store.failed()
		fallthrough
	default:
		a.stats.storeFailed.Add(1)
	}
	return list, err
}

// storeHealth remembers that a quota store does not answer, so that not every call
// has to wait for it: after failuresInRow it is asked once every storeRest.
type storeHealth struct {
	row   atomic.Int32 // failures in a row
	until atomic.Int64 // the moment until which it is not asked; 0: it is well
}

const (
	failuresInRow = 5
	storeRest     = 100 * time.Millisecond
)

var errStoreAway = errors.New("webv4: the quota store has not answered for a while")

// away reports whether to leave the store alone. Of several calls after its rest one
// asks it.
func (s *storeHealth) away() bool {
	until := s.until.Load()
	if until == 0 {
		return false
	}
	at := int64(now())
	return at < until || !s.until.CompareAndSwap(until, at+int64(storeRest))
}

func (s *storeHealth) failed() {
	if s.row.Add(1) >= failuresInRow {
		s.until.Store(int64(now()) + int64(storeRest))
	}
}

func (s *storeHealth) answered() {
	if s.row.Load() != 0 {
		s.row.Store(0)
		s.until.Store(0)
	}
}

// charge is the quota for the store. The key tells quotas and callers apart in
// every process alike.
func (q *quota) charge(key string, cost int) Charge {
	return Charge{Key: fmt.Sprintf("%s %s %q", q.scope, q, key), Limit: q.limit, Window: q.window, Cost: cost}
}

func (q *quota) standing(s *Standing) standing {
	return standing{quota: q, ok: s.OK, remaining: s.Remaining, reset: s.Reset, retry: s.Retry}
}

// look tells where the caller stands with each of the quotas without counting
// anything; the standing of one that does not concern it is zero.
func (a *API) look(ctx context.Context, c *call, quotas []*quota, now moment) ([]standing, error) {
	list := make([]standing, len(quotas))
	var charges []Charge
	var asked []int
	for i, q := range quotas {
		if key, ok := c.quotaKey(q); ok {
			list[i] = q.spend(key, now, 0)
			charges, asked = append(charges, q.charge(key, 0)), append(asked, i)
		}
	}
	if a.opt.QuotaStore == nil || len(charges) == 0 {
		return list, nil
	}
	shared, err := a.ask(ctx, charges)
	switch {
	case err == nil:
		for at, i := range asked {
			list[i] = quotas[i].standing(&shared[at])
		}
	case a.opt.QuotaFailClosed:
		return nil, Wrap(CodeUnavailable, err)
	}
	return list, nil
}
