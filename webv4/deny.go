package webv4

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DenyList refuses addresses, users and applications. Its zero value denies
// nobody. It is safe for concurrent use; asking it takes no lock.
type DenyList struct {
	mu    sync.Mutex // for changes
	state atomic.Pointer[denied]
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

// denied is a state of the list; nobody changes it.
type denied struct {
	addrs map[netip.Addr]Denied
	nets  map[netip.Prefix]Denied
	names map[DenyKind]map[string]Denied
}

// maxDenied bounds the entries of each kind.
const maxDenied = 100_000

// Deny adds an entry, or changes it. After ttl it ends by itself; 0 means never.
// It fails for a value that makes no sense, and when there are 100,000 already.
func (d *DenyList) Deny(kind DenyKind, value, why string, ttl time.Duration) error {
	e := Denied{Kind: kind, Value: value, Why: why}
	now := time.Now()
	if ttl > 0 {
		e.Until = now.Add(ttl)
	}
	return d.change(kind, value, func(s *denied, addr netip.Addr, net netip.Prefix) error {
		switch {
		case addr.IsValid():
			return put(s.addrs, addr, e, now)
		case net.IsValid():
			return put(s.nets, net, e, now)
		}
		return put(s.names[kind], value, e, now)
	})
}

// Allow removes an entry; it does nothing if there is none.
func (d *DenyList) Allow(kind DenyKind, value string) error {
	return d.change(kind, value, func(s *denied, addr netip.Addr, net netip.Prefix) error {
		delete(s.addrs, addr)
		delete(s.nets, net)
		if kind != DenyIP {
			delete(s.names[kind], value)
		}
		return nil
	})
}

func put[K comparable](m map[K]Denied, k K, e Denied, now time.Time) error {
	if len(m) >= maxDenied {
		maps.DeleteFunc(m, func(_ K, e Denied) bool { return !e.applies(now) })
	}
	if _, there := m[k]; !there && len(m) >= maxDenied {
		return errors.New("webv4: DenyList: full")
	}
	m[k] = e
	return nil
}

// change replaces the state by a copy that f has changed.
func (d *DenyList) change(kind DenyKind, value string, f func(*denied, netip.Addr, netip.Prefix) error) error {
	var addr netip.Addr
	var net netip.Prefix
	switch kind {
	case DenyIP:
		var err error
		if addr, err = netip.ParseAddr(value); err != nil {
			if net, err = netip.ParsePrefix(value); err != nil {
				return fmt.Errorf("webv4: DenyList: %.100q is neither an address nor a prefix", value)
			}
			if at := net.Addr(); at.Is4In6() && net.Bits() >= 96 {
				net = netip.PrefixFrom(at.Unmap(), net.Bits()-96)
			}
			net = net.Masked()
		}
		addr = plainAddr(addr)
	case DenyUser, DenyApp:
		if value == "" {
			return errors.New("webv4: DenyList: empty value")
		}
	default:
		return fmt.Errorf("webv4: DenyList: kind %.100q: want ip, user or app", kind)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	next := &denied{
		addrs: map[netip.Addr]Denied{}, nets: map[netip.Prefix]Denied{}, names: map[DenyKind]map[string]Denied{DenyUser: {}, DenyApp: {}},
	}
	if old := d.state.Load(); old != nil {
		maps.Copy(next.addrs, old.addrs)
		maps.Copy(next.nets, old.nets)
		for k, m := range old.names {
			maps.Copy(next.names[k], m)
		}
	}
	if err := f(next, addr, net); err != nil {
		return err
	}
	d.state.Store(next)
	return nil
}

// List returns the entries that apply now.
func (d *DenyList) List() []Denied {
	var list []Denied
	s := d.state.Load()
	if s == nil {
		return nil
	}
	now := time.Now()
	add := func(e Denied) {
		if e.applies(now) {
			list = append(list, e)
		}
	}
	for _, e := range s.addrs {
		add(e)
	}
	for _, e := range s.nets {
		add(e)
	}
	for _, m := range s.names {
		for _, e := range m {
			add(e)
		}
	}
	slices.SortFunc(list, func(a, b Denied) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value)) })
	return list
}

func (e *Denied) applies(now time.Time) bool {
	return e.Until.IsZero() || now.Before(e.Until)
}

// plainAddr is an address without what only says how it was written, or by which
// network card it came.
func plainAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// denies reports whether an address is denied.
func (d *DenyList) denies(ip string) bool {
	s := d.state.Load()
	if s == nil || len(s.addrs)+len(s.nets) == 0 {
		return false
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	addr = plainAddr(addr)
	if e, ok := s.addrs[addr]; ok && e.applies(time.Now()) {
		return true
	}
	for net, e := range s.nets {
		if net.Contains(addr) && e.applies(time.Now()) {
			return true
		}
	}
	return false
}

// deniesPrincipal returns the code to refuse a principal with, 0 for none.
func (d *DenyList) deniesPrincipal(p *Principal) int {
	s := d.state.Load()
	if s == nil {
		return 0
	}
	if e, ok := s.names[DenyUser][p.ID]; ok && e.applies(time.Now()) {
		return CodePermission
	}
	if e, ok := s.names[DenyApp][p.App]; ok && e.applies(time.Now()) {
		return CodeAppPermission
	}
	return 0
}
