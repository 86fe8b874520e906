package webv4

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// quotaBy is whose calls a quota counts.
type quotaBy int

const (
	byUser  quotaBy = iota // the principal's
	byApp                  // the application's
	byIP                   // the client address's
	byTotal                // everybody's together
)

var quotaNames = [...]string{"user", "app", "ip", "total"}

// quota allows limit calls in any window of time, spread evenly with bursts up
// to the whole limit (the generic cell rate algorithm).
type quota struct {
	by     quotaBy
	limit  int
	window time.Duration
	unit   byte

	policy string        // the RateLimit-Policy member
	total  *rate.Limiter // for byTotal
	table  *cells        // for the others
}

func (q *quota) String() string { return fmt.Sprintf("%s=%d/%c", quotaNames[q.by], q.limit, q.unit) }

var windows = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// parseQuotas reads a list such as user=1000/h,ip=10000/h.
func parseQuotas(s string) ([]*quota, error) {
	var list []*quota
	for item := range strings.SplitSeq(s, ",") {
		who, amount, _ := strings.Cut(item, "=")
		count, unit, _ := strings.Cut(amount, "/")
		limit, err := strconv.Atoi(count)
		window := windows[unit]
		by := -1
		for i, name := range quotaNames {
			if name == who {
				by = i
			}
		}
		if err != nil || limit < 1 || window == 0 || by < 0 {
			return nil, fmt.Errorf("quota %q: want user, app, ip or total, =, a number, and /s, /m, /h or /d", item)
		}
		q := &quota{by: quotaBy(by), limit: limit, window: window, unit: unit[0]}
		q.policy = fmt.Sprintf(`"%s";q=%d;w=%d`, who, limit, int(window.Seconds()))
		if q.by == byTotal {
			q.total = rate.NewLimiter(rate.Limit(float64(limit)/window.Seconds()), limit)
		} else {
			q.table = newCells()
		}
		list = append(list, q)
	}
	return list, nil
}

// standing is what a quota says about one caller.
type standing struct {
	quota     *quota
	ok        bool
	remaining int
	reset     time.Duration // until the whole limit is there again
	retry     time.Duration // until the next call is allowed
}

// spend counts one call, if cost is 1, or looks only, if it is 0.
func (q *quota) spend(key string, now time.Time, cost int) standing {
	s := standing{quota: q, ok: true}
	if q.by == byTotal {
		if cost > 0 && !q.total.AllowN(now, 1) {
			s.ok, s.retry = false, time.Duration(float64(q.window)/float64(q.limit))
		}
		tokens := q.total.TokensAt(now)
		s.remaining = max(int(tokens), 0)
		s.reset = time.Duration((float64(q.limit) - tokens) / float64(q.limit) * float64(q.window))
		return s
	}
	// The cell holds the time at which the caller will have used nothing.
	step := int64(q.window) / int64(q.limit)
	at := now.UnixNano()
	full := max(q.table.update(key, at, func(full int64) int64 {
		full = max(full, at)
		if full+step*int64(cost)-at > int64(q.window) {
			s.ok = false
			s.retry = time.Duration(full + step - at - int64(q.window))
			return full
		}
		return full + step*int64(cost)
	}), at)
	s.reset = time.Duration(full - at)
	s.remaining = int((int64(q.window) - (full - at)) / step)
	return s
}

// cells maps callers to 64-bit times. It is bounded: when a shard is full, a
// caller that has used nothing goes first, else one picked at random, who gets
// a fresh quota. That is the price of a bound under a flood of callers.
type cells struct {
	seed   maphash.Seed
	shards [cellShards]cellShard
}

const (
	cellShards    = 64
	cellsPerShard = 4096 // 262,144 callers a quota
)

type cellShard struct {
	mu sync.Mutex
	m  map[string]int64
	_  [48]byte // shards on cache lines of their own
}

func newCells() *cells {
	c := &cells{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].m = make(map[string]int64)
	}
	return c
}

func (c *cells) update(key string, now int64, f func(int64) int64) int64 {
	s := &c.shards[maphash.String(c.seed, key)%cellShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.m[key]
	v := f(old)
	if v <= now {
		delete(s.m, key) // the same as never seen
		return v
	}
	if !ok && len(s.m) >= cellsPerShard {
		s.evictLocked(now)
	}
	if !ok {
		key = strings.Clone(key)
	}
	s.m[key] = v
	return v
}

// evictLocked makes room by looking at a few entries; the map's iteration order
// is random.
func (s *cellShard) evictLocked(now int64) {
	looked, victim := 0, ""
	for k, v := range s.m {
		if v <= now {
			delete(s.m, k)
			victim = ""
			break
		}
		if victim == "" || rand.IntN(2) == 0 {
			victim = k
		}
		if looked++; looked == 8 {
			break
		}
	}
	if victim != "" {
		delete(s.m, victim)
	}
}

// code is the error for an exhausted quota.
func (q *quota) code() int {
	switch q.by {
	case byIP:
		return CodeIPLimit
	case byUser:
		return CodeUserAPILimit
	case byApp:
		return CodeUserLimit
	}
	return CodeBusy
}

// writeHeaders tells the caller where it stands with the tightest quota.
func (s *standing) writeHeaders(h http.Header) {
	b := make([]byte, 0, 48)
	b = append(b, '"')
	b = append(b, quotaNames[s.quota.by]...)
	b = append(b, `";r=`...)
	b = strconv.AppendInt(b, int64(s.remaining), 10)
	b = append(b, `;t=`...)
	b = strconv.AppendInt(b, int64((s.reset+time.Second-1)/time.Second), 10)
	h["Ratelimit"] = []string{string(b)}
	h["Ratelimit-Policy"] = []string{s.quota.policy}
	if !s.ok {
		h["Retry-After"] = []string{strconv.FormatInt(int64((s.retry+time.Second-1)/time.Second), 10)}
	}
}
