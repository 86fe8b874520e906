package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/heddle-go/heddle/internal/disk"
	"github.com/heddle-go/heddle/ssdcache"
)

// An item's value in the cache is its flags, its cas and until when it lives, in
// 4, 8 and 8 bytes, and the data.
const envelope = 4 + 8 + 8

// item is one read from the cache. It lies in its reader's buffer.
type item struct {
	flags   uint32
	cas     uint64
	expires int64 // Unix milliseconds; 0: never
	data    []byte
}

// store is the cache as the protocol sees it.
type store struct {
	cache *ssdcache.Cache

	// A command that reads an item and then writes it, and each that writes one,
	// holds the lock of its key meanwhile.
	locks [4096]sync.Mutex

	cas atomic.Uint64 // the last one given; they grow with the clock

	maxItem int // largest body that is worth reading

	flushMu   sync.Mutex
	flushFile string
	flushed   atomic.Pointer[flushes]
}

// flushes are what flush_all asked for, as cas values and Unix nanoseconds at
// once: a cas is the time when it was given.
type flushes struct {
	done uint64 // items with a smaller cas are gone
	next uint64 // and from this time on those with a smaller one than this; 0: none
}

func (f *flushes) gone(cas uint64, now time.Time) bool {
	return cas < f.done || cas < f.next && uint64(now.UnixNano()) >= f.next
}

func newStore(cache *ssdcache.Cache, flushFile string) (*store, error) {
	s := &store{cache: cache, flushFile: flushFile, maxItem: cache.Stats().MaxItem}
	var f flushes
	text, err := os.ReadFile(flushFile)
	if err == nil {
		if _, err = fmt.Sscan(string(text), &f.done, &f.next); err != nil {
			return nil, fmt.Errorf("%s: %w", flushFile, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s.flushed.Store(&f)
	s.cas.Store(f.done)
	return s, nil
}

func (s *store) lock(key []byte) *sync.Mutex {
	l := &s.locks[xxhash.Sum64(key)%uint64(len(s.locks))]
	l.Lock()
	return l
}

// nextCAS returns one that no item has had since the start.
func (s *store) nextCAS() uint64 {
	for {
		last := s.cas.Load()
		next := max(last+1, uint64(time.Now().UnixNano()))
		if s.cas.CompareAndSwap(last, next) {
			return next
		}
	}
}

// get reads an item into room, which it returns, grown if need be.
func (s *store) get(room, key []byte) (it item, _ []byte, found bool) {
	room, err := s.cache.Get(room[:0], key)
	if err != nil {
		return item{}, room, false
	}
	it, found = s.open(room)
	return it, room, found
}

// open reads the envelope of a value that the cache has.
func (s *store) open(value []byte) (it item, found bool) {
	if len(value) < envelope {
		return item{}, false
	}
	le := binary.LittleEndian
	it = item{le.Uint32(value), le.Uint64(value[4:]), int64(le.Uint64(value[12:])), value[envelope:]}
	if f := s.flushed.Load(); (f.done != 0 || f.next != 0) && f.gone(it.cas, time.Now()) {
		return item{}, false
	}
	return it, true
}

// put writes an item; value has envelope bytes of room in front of the data. The
// key's lock is held. A cas of 0 asks for a new one.
func (s *store) put(key, value []byte, flags uint32, expires int64, cas uint64) (uint64, error) {
	var ttl time.Duration
	if expires != 0 {
		if ttl = time.Until(time.UnixMilli(expires)); ttl <= 0 {
			return 0, s.cache.Delete(key)
		}
	}
	if cas == 0 {
		cas = s.nextCAS()
	}
	le := binary.LittleEndian
	le.PutUint32(value, flags)
	le.PutUint64(value[4:], cas)
	le.PutUint64(value[12:], uint64(expires))
	return cas, s.cache.Set(key, value, ttl)
}

// flush makes all items go that are older than delay from now.
func (s *store) flush(delay time.Duration) error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	f := *s.flushed.Load()
	if now := uint64(time.Now().UnixNano()); f.next != 0 && now >= f.next {
		f.done, f.next = max(f.done, f.next), 0
	}
	if delay > 0 {
		f.next = uint64(time.Now().Add(delay).UnixNano())
	} else {
		f.done = s.nextCAS()
	}
	if err := disk.WriteFile(s.flushFile, fmt.Appendf(nil, "%d %d\n", f.done, f.next)); err != nil {
		return err
	}
	s.flushed.Store(&f)
	return nil
}

// month is up to where an expiry counts from now.
const month = 30 * 24 * 3600

// expiry is the protocol's exptime as Unix milliseconds; 0: never.
func expiry(exptime int64) int64 {
	now := time.Now()
	switch {
	case exptime == 0:
		return 0
	case exptime < 0:
		return 1 // long ago
	case exptime <= month:
		return now.UnixMilli() + exptime*1000
	case exptime > 1<<40:
		return 0
	}
	return exptime * 1000
}
