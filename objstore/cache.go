package objstore

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"
)

// Cache keeps records in front of the metadata engine; an ssdcache.Cache is
// one. Any error of Get is a miss. Get must not return what was under a key
// before a Set or a Delete of it returned, except to a call that began before.
// The methods must not call the Library, and are safe for concurrent use.
type Cache interface {
	// Get appends the value of key to dst.
	Get(dst, key []byte) ([]byte, error)

	// Set stores value under key; a ttl of 0 means no expiry. It keeps neither.
	Set(key, value []byte, ttl time.Duration) error

	// Delete removes key.
	Delete(key []byte) error
}

// cachedStore is a Store with a cache in front of records. What is in the cache
// is never older than the last Commit that returned: a writer takes the key out
// before it commits, and from then until it is done nobody may put it in, nor
// later who had begun to read before.
type cachedStore struct {
	Store
	cache Cache
	seed  maphash.Seed
	epoch []byte // in front of the keys in the cache, see openCache

	stripes [cacheStripes]cacheStripe
}

const cacheStripes = 256

// cacheStripe guards the keys that share it.
type cacheStripe struct {
	mu      sync.RWMutex // held for reading over a Set, so that writers wait for it
	writers int          // Commits under way that change one of the keys
	epoch   uint64       // moves on with each of them
}

// openCache puts the cache in front of the store. A cache that outlives the
// process must not show what was changed without it: an Open that has none moves
// on the epoch of the store, which begins all keys in the cache.
func (l *Library) openCache(ctx context.Context) error {
	epoch, found := uint64(0), false
	err := l.store.Get(ctx, [][]byte{epochKey}, func(_ int, row Row) error {
		if len(row.Value) != 8 {
			return corruptKey(row.Key)
		}
		epoch, found = binary.BigEndian.Uint64(row.Value), true
		return nil
	})
	if err != nil {
		return err
	}
	used := l.opts.Cache != nil
	if used && !found || !used && found {
		epoch++
		value := binary.BigEndian.AppendUint64(nil, epoch)
		if err := l.store.Commit(ctx, []Change{{Put: []Row{{Key: epochKey, Value: value}}}}); err != nil {
			return err
		}
	}
	if used {
		l.cached = &cachedStore{Store: l.store, cache: l.opts.Cache, seed: maphash.MakeSeed(), epoch: binary.BigEndian.AppendUint64(nil, epoch)}
		l.store = l.cached
	}
	return nil
}

// cacheKey is the key of a row in the cache.
func (s *cachedStore) cacheKey(b, key []byte) []byte { return append(append(b, s.epoch...), key...) }

func (s *cachedStore) stripe(key []byte) *cacheStripe {
	return &s.stripes[maphash.Bytes(s.seed, key)%cacheStripes]
}

// Commit takes the rows out of the cache and commits.
func (s *cachedStore) Commit(ctx context.Context, changes []Change) error {
	var stripes []*cacheStripe
	var buf []byte
	defer func() {
		for _, st := range stripes {
			st.mu.Lock()
			st.writers--
			st.epoch++
			st.mu.Unlock()
		}
	}()
	for i := range changes {
		key := changes[i].Row.Key
		if len(key) == 0 || key[0] != prefixRecord {
			continue
		}
		st := s.stripe(key)
		st.mu.Lock()
		st.writers++
		st.epoch++
		st.mu.Unlock()
		stripes = append(stripes, st)
		buf = s.cacheKey(buf[:0], key)
		if err := s.cache.Delete(buf); err != nil {
			return err // it would show what was before
		}
	}
	return s.Store.Commit(ctx, changes)
}

// getCached is Get that looks into the cache first, and fills it.
func (s *cachedStore) getCached(ctx context.Context, keys [][]byte, each func(i int, row Row) error) (hits int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	buf := takeBuffer()
	defer buf.release()
	keyBuf := make([]byte, 0, 8+1+objectSize)
	var missing [][]byte
	var index []int
	var epochs []uint64
	for i, key := range keys {
		st := s.stripe(key)
		st.mu.RLock()
		epoch := st.epoch
		st.mu.RUnlock()
		if b, err := s.cache.Get(buf.b[:0], s.cacheKey(keyBuf, key)); err == nil {
			buf.b = b
			if row, err := parseRow(key, b); err == nil {
				hits++
				if err := each(i, row); err != nil {
					return hits, err
				}
				continue
			}
		}
		missing, index, epochs = append(missing, key), append(index, i), append(epochs, epoch)
	}
	if len(missing) == 0 {
		return hits, nil
	}
	return hits, s.Store.Get(ctx, missing, func(i int, row Row) error {
		buf.b = appendRow(buf.b[:0], row.Version, row.Value)
		s.fill(row.Key, buf.b, epochs[i])
		return each(index[i], row)
	})
}

// fill puts a row into the cache if nobody has changed it since epoch.
func (s *cachedStore) fill(key, value []byte, epoch uint64) {
	st := s.stripe(key)
	st.mu.RLock() // over the Set on purpose: a writer's Delete must come after it
	defer st.mu.RUnlock()
	if st.writers == 0 && st.epoch == epoch {
		_ = s.cache.Set(s.cacheKey(nil, key), value, 0) // what is not cached is read again
	}
}
