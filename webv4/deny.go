package webv4

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math/bits"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DenyList refuses addresses, users and applications. Its zero value denies
// nobody. It is safe for concurrent use. Asking it takes no lock, and a time that
// depends on how many lengths of prefixes there are, not on how many entries.
type DenyList struct {
	mu     sync.Mutex // for changes
	count  map[DenyKind]int
	shards [denyShards]atomic.Pointer[map[denyKey]Denied] // what is in one is not changed

	// lengths has a bit for each length of a prefix that there has been: the first
	// word for IPv4's, the others for IPv6's.
	lengths [4]atomic.Uint64
	named   atomic.Bool // there has been a user or an application
}

const (
	denyShards = 4096
	maxDenied  = 100_000 // entries of a kind
)

// denyKey is what an entry is about: a prefix, which an address is as well, or a name.
type denyKey struct {
	kind DenyKind
	net  netip.Prefix
	name string
}

var denySeed = maphash.MakeSeed()

func (k *denyKey) shard() uint64 {
	if k.kind != DenyIP {
		return maphash.String(denySeed, k.name) % denyShards
	}
	b := k.net.Addr().As16()
	return (maphash.Bytes(denySeed, b[:]) + uint64(k.net.Bits())) % denyShards
}

// DenyKind is what a DenyList entry is about.
type DenyKind string

const (
	DenyIP   DenyKind = "ip" // an address or a prefix such as 10.0.0.0/8
	DenyUser DenyKind = "user"
	DenyApp  DenyKind = "app"
)

// Denied is an entry of a DenyList.
type Denied struct {
	Kind  DenyKind  `json:"kind"`
	Value string    `json:"value"`
	Why   string    `json:"why"`
	Until time.Time `json:"until,omitzero"` // zero: until it is allowed again
}

// Deny adds an entry, or changes it. After ttl it ends by itself; 0 means never.
// It fails for a value that makes no sense, and when there are 100,000 of its kind
// already.
func (d *DenyList) Deny(kind DenyKind, value, why string, ttl time.Duration) error {
	key, err := denyKeyOf(kind, value)
	if err != nil {
		return err
	}
	e := Denied{Kind: kind, Value: value, Why: why}
	now := time.Now()
	if ttl > 0 {
		e.Until = now.Add(ttl)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count[kind] >= maxDenied && !d.has(&key) {
		d.sweepLocked(now)
		if d.count[kind] >= maxDenied {
			return errors.New("webv4: DenyList: full")
		}
	}
	d.changeLocked(key.shard(), func(m map[denyKey]Denied) { m[key] = e })
	if kind == DenyIP {
		word, bit := lengthBit(key.net)
		d.lengths[word].Or(bit)
	} else {
		d.named.Store(true)
	}
	return nil
}

// Allow removes an entry; it does nothing if there is none.
func (d *DenyList) Allow(kind DenyKind, value string) error {
	key, err := denyKeyOf(kind, value)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.has(&key) {
		d.changeLocked(key.shard(), func(m map[denyKey]Denied) { delete(m, key) })
	}
	return nil
}

func denyKeyOf(kind DenyKind, value string) (denyKey, error) {
	switch kind {
	case DenyIP:
		if addr, err := netip.ParseAddr(value); err == nil {
			addr = plainAddr(addr)
			return denyKey{kind: kind, net: netip.PrefixFrom(addr, addr.BitLen())}, nil
		}
		net, err := netip.ParsePrefix(value)
		if err != nil {
			return denyKey{}, fmt.Errorf("webv4: DenyList: %.100q is neither an address nor a prefix", value)
		}
		if at := net.Addr(); at.Is4In6() && net.Bits() >= 96 {
			net = netip.PrefixFrom(at.Unmap(), net.Bits()-96)
		}
		return denyKey{kind: kind, net: net.Masked()}, nil
	case DenyUser, DenyApp:
		if value == "" {
			return denyKey{}, errors.New("webv4: DenyList: empty value")
		}
		return denyKey{kind: kind, name: value}, nil
	}
	return denyKey{}, fmt.Errorf("webv4: DenyList: kind %.100q: want ip, user or app", kind)
}

// plainAddr is an address without what only says how it was written, or by which
// network card it came.
func plainAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// lengthBit is where DenyList.lengths notes a prefix's length.
func lengthBit(net netip.Prefix) (word int, bit uint64) {
	if net.Addr().Is4() {
		return 0, 1 << net.Bits()
	}
	return 1 + net.Bits()/64, 1 << (net.Bits() % 64)
}

// changeLocked replaces a shard by a copy that f has changed.
func (d *DenyList) changeLocked(shard uint64, f func(map[denyKey]Denied)) {
	next := map[denyKey]Denied{}
	if d.count == nil {
		d.count = map[DenyKind]int{}
	}
	if old := d.shards[shard].Load(); old != nil {
		maps.Copy(next, *old)
		for k := range *old {
			d.count[k.kind]--
		}
	}
	f(next)
	for k := range next {
		d.count[k.kind]++
	}
	d.shards[shard].Store(&next)
}

// sweepLocked removes the entries that have ended.
func (d *DenyList) sweepLocked(now time.Time) {
	for i := range d.shards {
		if d.shards[i].Load() != nil {
			d.changeLocked(uint64(i), func(m map[denyKey]Denied) {
				maps.DeleteFunc(m, func(_ denyKey, e Denied) bool { return !e.applies(now) })
			})
		}
	}
}

// List returns the entries that apply now.
func (d *DenyList) List() []Denied {
	var list []Denied
	now := time.Now()
	for i := range d.shards {
		if m := d.shards[i].Load(); m != nil {
			for _, e := range *m {
				if e.applies(now) {
					list = append(list, e)
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b Denied) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value)) })
	return list
}

func (e *Denied) applies(now time.Time) bool {
	return e.Until.IsZero() || now.Before(e.Until)
}

// has reports whether there is an entry, also one that has ended.
func (d *DenyList) has(key *denyKey) bool {
	m := d.shards[key.shard()].Load()
	if m == nil {
		return false
	}
	_, ok := (*m)[*key]
	return ok
}

// applies reports whether there is an entry that has not ended.
func (d *DenyList) applies(key *denyKey) bool {
	m := d.shards[key.shard()].Load()
	if m == nil {
		return false
	}
	e, ok := (*m)[*key]
	return ok && e.applies(time.Now())
}

// denies reports whether an address is denied.
func (d *DenyList) denies(ip string) bool {
	v4, v6 := d.lengths[:1], d.lengths[1:]
	if v4[0].Load()|v6[0].Load()|v6[1].Load()|v6[2].Load() == 0 {
		return false
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	addr = plainAddr(addr)
	words := v6
	if addr.Is4() {
		words = v4
	}
	key := denyKey{kind: DenyIP}
	for i := range words {
		for rest := words[i].Load(); rest != 0; rest &= rest - 1 {
			key.net, err = addr.Prefix(64*i + bits.TrailingZeros64(rest))
			if err == nil && d.applies(&key) {
				return true
			}
		}
	}
	return false
}

// deniesPrincipal returns the code to refuse a principal with, 0 for none.
func (d *DenyList) deniesPrincipal(p *Principal) int {
	switch {
	case !d.named.Load():
	case d.applies(&denyKey{kind: DenyUser, name: p.ID}):
		return CodePermission
	case d.applies(&denyKey{kind: DenyApp, name: p.App}):
		return CodeAppPermission
	}
	return 0
}
