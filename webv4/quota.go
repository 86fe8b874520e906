package webv4

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// quotaBy is whose calls a quota counts.
type quotaBy int

const (
	byUser    quotaBy = iota // the principal's
	byApp                    // the application's
	byAppUser                // the principal's with one application
	byIP                     // the client address's, or its IPv6 /64 network's; together of those without one
	byTotal                  // everybody's together
)

var quotaNames = [...]string{"user", "app", "app+user", "ip", "total"}

// quota allows limit calls in any window of time, spread evenly with bursts up
// to the whole limit (the generic cell rate algorithm).
type quota struct {
	by     quotaBy
	limit  int
	window time.Duration
	unit   byte

	kind    string        // WHO/UNIT: what a quota of the same scope has none of
	policy  string        // the RateLimit-Policy member
	name    string        // in the RateLimit header
	scope   string        // the interface, or the group, that it belongs to
	path    string        // below which all calls count; "" for a quota of one interface
	general bool          // counts calls of several interfaces
	total   *rate.Limiter // for byTotal
	cells   *cells        // for the others
	salt    uint64        // tells this quota's callers from other quotas'
}

// asks reports whether the quota is on whom only an Authenticator can name.
func (q *quota) asks() bool { return q.by <= byAppUser }

func (q *quota) String() string { return fmt.Sprintf("%s=%d/%c", quotaNames[q.by], q.limit, q.unit) }

var windows = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// maxLimit is the largest limit: more than anything serves in a second.
const maxLimit = 100_000_000

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
		if err != nil || limit < 1 || limit > maxLimit || window == 0 || by < 0 {
			return nil, fmt.Errorf("quota %q: want user, app, app+user, ip or total, =, a number up to %d, and /s, /m, /h or /d", item, maxLimit)
		}
		q := &quota{by: quotaBy(by), limit: limit, window: window, unit: unit[0], salt: rand.Uint64()}
		q.kind = who + "/" + unit
		if slices.ContainsFunc(list, func(other *quota) bool { return other.kind == q.kind }) {
			return nil, fmt.Errorf("quota %q: there is one of %s already", item, q.kind)
		}
		q.call(q.kind)
		if q.by == byTotal {
			q.total = rate.NewLimiter(rate.Limit(float64(limit)/window.Seconds()), limit)
		}
		list = append(list, q)
	}
	return list, nil
}

// call gives the quota its name in the headers.
func (q *quota) call(name string) {
	q.name = `"` + name + `"`
	q.policy = fmt.Sprintf(`%s;q=%d;w=%d`, q.name, q.limit, int(q.window.Seconds()))
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
func (q *quota) spend(key string, now moment, cost int) standing {
	s := standing{quota: q, ok: true}
	if q.by == byTotal {
		if cost > 0 && !q.total.AllowN(now.mono(), 1) {
			s.ok, s.retry = false, time.Duration(float64(q.window)/float64(q.limit))
		}
		tokens := q.total.TokensAt(now.mono())
		s.remaining = max(int(tokens), 0)
		s.reset = time.Duration((float64(q.limit) - tokens) / float64(q.limit) * float64(q.window))
		return s
	}
	// The cell holds the time at which the caller will have used nothing.
	step := int64(q.step())
	at := int64(now)
	full := max(q.cells.update(q.hash(key), at, func(full int64) int64 {
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

// refund takes one spent call back.
func (q *quota) refund(key string, now moment) {
	if q.by != byTotal {
		q.cells.update(q.hash(key), int64(now), func(full int64) int64 { return full - int64(q.step()) })
	}
}

func (q *quota) hash(key string) uint64 { return maphash.String(q.cells.seed, key) ^ q.salt }

// cells maps callers, as hashes under a secret seed, to 64-bit times. It is
// bounded: when a shard is full, a caller that has used nothing goes first, else
// one picked at random, who gets a fresh quota. That is the price of a bound
// under a flood of callers. Of 2²⁰ callers two share a hash with a probability
// of 3 in 10⁸.
type cells struct {
	seed   maphash.Seed
	shards [cellShards]cellShard
}

const (
	cellShards    = 64
	cellsPerShard = 16384 // 1,048,576 callers, about 40 MB
)

type cellShard struct {
	mu sync.Mutex
	m  map[uint64]int64
	_  [48]byte // shards on cache lines of their own
}

func newCells() *cells {
	c := &cells{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].m = make(map[uint64]int64)
	}
	return c
}

func (c *cells) update(key uint64, now int64, f func(int64) int64) int64 {
	s := &c.shards[key%cellShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.m[key]
	if !ok {
		old = now // a caller that has used nothing
	}
	v := f(old)
	if v <= now {
		delete(s.m, key) // the same as never seen
		return v
	}
	if !ok && len(s.m) >= cellsPerShard {
		s.evictLocked(now)
	}
	s.m[key] = v
	return v
}

// evictLocked makes room by looking at a few entries; the map's iteration order
// is random.
func (s *cellShard) evictLocked(now int64) {
	looked := 0
	var victim uint64
	for k, v := range s.m {
		if v <= now {
			victim = k
			break
		}
		if looked == 0 || rand.IntN(2) == 0 {
			victim = k
		}
		if looked++; looked == 8 {
			break
		}
	}
	delete(s.m, victim)
}

// callers is how many callers are remembered.
func (c *cells) callers() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.m)
		s.mu.Unlock()
	}
	return n
}

// code is the error for an exhausted quota.
func (q *quota) code() int {
	switch {
	case q.by == byIP:
		return CodeIPLimit
	case q.by == byTotal:
		return CodeBusy
	case q.general:
		return CodeUserLimit
	}
	return CodeUserAPILimit
}

// sharedQuotas reads quotas that count all calls below a path, for a scope that has
// some already. A quota that another group of the same path has is the same one, as
// it is in a store.
func (s *scope) sharedQuotas(c *core, text string) ([]*quota, error) {
	if text == "" {
		return s.quotas, nil
	}
	list, err := parseQuotas(text)
	if err != nil {
		return nil, err
	}
	quotas := slices.Clone(s.quotas)
	for _, q := range list {
		if q.asks() && s.auth == nil {
			return nil, fmt.Errorf("quota %s: without an Authenticator nobody knows whose calls these are", q)
		}
		q.cells, q.general, q.scope = c.cells, true, "*"+s.prefix
		q.path = s.prefix + "/"
		q.call(q.kind + " " + (&url.URL{Path: q.path}).EscapedPath())
		old := c.shared[q.name]
		switch {
		case old == nil:
			c.shared[q.name] = q
		case old.limit != q.limit:
			return nil, fmt.Errorf("quota %s: all calls below %s have %s already", q, q.path, old)
		default:
			q = old
		}
		if !slices.Contains(quotas, q) {
			quotas = append(quotas, q)
		}
	}
	return quotas, nil
}

// limit gives the operation its quotas: the API's and its own, those on
// everybody's calls last, because they cannot take a call back.
func (op *operation) limit(a *API) {
	if op.plan.noQuota {
		return
	}
	op.quotas = slices.Concat(a.quotas, op.plan.quotas)
	slices.SortStableFunc(op.quotas, func(a, b *quota) int {
		switch {
		case a.by != byTotal && b.by == byTotal:
			return -1
		case a.by == byTotal && b.by != byTotal:
			return 1
		}
		return 0
	})
	var policies []string
	for _, q := range op.quotas {
		q.cells = a.cells
		if q.scope == "" {
			q.scope = op.name
		}
		policies = append(policies, q.policy)
	}
	op.policy = []string{strings.Join(policies, ", ")}
}

// count spends one call of each quota. If one is exhausted, what the others
// spent is given back. The headers show the tightest.
func (a *API) count(ctx context.Context, c *call, op *operation, now moment) error {
	if a.opt.QuotaStore != nil {
		done, err := a.countShared(ctx, c, op)
		if done || err != nil {
			return err
		}
	}
	var tightest standing
	for i, q := range op.quotas {
		key, ok := c.quotaKey(q)
		if !ok {
			continue
		}
		s := q.spend(key, now, 1)
		if !s.ok {
			for _, spent := range op.quotas[:i] {
				if key, ok := c.quotaKey(spent); ok {
					spent.refund(key, now)
				}
			}
			return a.exhausted(c, op, &s)
		}
		if tightest.quota == nil || s.remaining < tightest.remaining {
			tightest = s
		}
	}
	if tightest.quota != nil {
		c.standing(op, &tightest)
	}
	return nil
}

// full refuses a call whose address has no call left, before anybody is asked who
// makes it: to tell may be dear, and guesses must not be for nothing. It looks only
// while there is such an address.
func (a *API) full(c *call, op *operation) error {
	if c.began >= moment(a.fullUntil.Load()) {
		return nil
	}
	for _, q := range op.quotas {
		if q.by != byIP {
			continue
		}
		key, ok := c.quotaKey(q)
		if !ok {
			return nil
		}
		if s := q.spend(key, c.began, 0); s.remaining < 1 {
			s.ok, s.retry = false, s.reset-q.window+q.step()
			return a.exhausted(c, op, &s)
		}
	}
	return nil
}

// fill makes the quota of a caller one that has no call left for a time, as a store
// has said.
func (q *quota) fill(key string, now moment, retry time.Duration) {
	q.cells.update(q.hash(key), int64(now), func(full int64) int64 {
		return max(full, int64(now)+int64(q.window-q.step()+retry))
	})
}

// step is the time in which a call comes back.
func (q *quota) step() time.Duration { return q.window / time.Duration(q.limit) }

func (a *API) exhausted(c *call, op *operation, s *standing) error {
	a.stats.limited.Add(1)
	if s.quota.by == byIP {
		until := int64(c.began) + int64(s.retry)
		for was := a.fullUntil.Load(); was < until && !a.fullUntil.CompareAndSwap(was, until); was = a.fullUntil.Load() {
		}
	}
	c.rejected = true
	c.standing(op, s)
	return refusal(s.quota.code())
}

// quotaKey is whom a quota counts for in this call; false if it cannot tell, or if others
// share what a refused caller must not use up.
func (c *call) quotaKey(q *quota) (string, bool) {
	who := c.caller
	switch q.by {
	case byUser:
		return who.principal.ID, who.authed
	case byApp:
		if who.principal.App == "" { // to go by an unknown application must not be free
			return "\x00" + who.principal.ID, who.authed
		}
		return who.principal.App, who.authed && !who.refused
	case byAppUser:
		return who.principal.App + "\x00" + who.principal.ID, who.authed
	case byIP:
		return network(c.ip()), true // calls without an address count as one's
	}
	return "", !who.refused
}

// network is the address itself, or for IPv6 the /64 network: one customer has
// all of that.
func network(ip string) string {
	if strings.IndexByte(ip, ':') < 0 {
		return ip
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	if addr.Is4In6() {
		return addr.Unmap().String()
	}
	b := addr.As16()
	return string(b[:8])
}

// standing writes the headers that tell the caller where it stands
// (draft-ietf-httpapi-ratelimit-headers).
func (c *call) standing(op *operation, s *standing) {
	b := make([]byte, 0, 48)
	b = append(b, s.quota.name...)
	b = append(b, `;r=`...)
	b = strconv.AppendInt(b, int64(s.remaining), 10)
	b = append(b, `;t=`...)
	b = strconv.AppendInt(b, int64(seconds(s.reset)), 10)
	c.caller.rateLimit[0] = string(b)
	h := c.w.Header()
	h["Ratelimit"] = c.caller.rateLimit[:]
	h["Ratelimit-Policy"] = op.policy
	if !s.ok {
		h["Retry-After"] = numberHeader(seconds(s.retry))
	}
}
