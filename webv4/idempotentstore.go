package webv4

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// onceStore is the IdempotencyStore of one process, with which claims end as well:
// so they hold until they are finished. It is bounded: beyond its bytes the oldest
// replies go before their time, which is counted.
type onceStore struct {
	limit   int
	dropped func()

	mu    sync.Mutex
	m     map[string]*list.Element
	order list.List // of *onceEntry, front: finished or begun last
	bytes int
}

type onceEntry struct {
	key   string
	reply IdempotentReply
	until time.Time // of a reply
	size  int
}

// onceOverhead is about what an entry costs besides its body.
const onceOverhead = 400

func newOnceStore(limit int, dropped func()) *onceStore {
	return &onceStore{limit: limit, dropped: dropped, m: map[string]*list.Element{}}
}

func (s *onceStore) Begin(_ context.Context, key string, fingerprint [32]byte, _ time.Duration) (*IdempotentReply, error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.m[key]; e != nil {
		entry := e.Value.(*onceEntry)
		if !entry.reply.Done || now.Before(entry.until) {
			return &entry.reply, nil
		}
		s.removeLocked(e)
	}
	s.addLocked(&onceEntry{key: key, reply: IdempotentReply{Fingerprint: fingerprint}, size: onceOverhead}, now)
	return nil, nil
}

// Renew does nothing: a claim holds until it is finished.
func (s *onceStore) Renew(context.Context, string, [32]byte, time.Duration) error { return nil }

func (s *onceStore) Finish(_ context.Context, key string, r *IdempotentReply, ttl time.Duration) error {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.m[key]; e != nil {
		s.removeLocked(e)
	}
	if r == nil {
		return nil
	}
	entry := &onceEntry{key: key, reply: *r, until: now.Add(ttl), size: onceOverhead + len(r.Body)}
	if entry.size > s.limit/4 {
		entry.reply.Status, entry.reply.Body, entry.size = 0, nil, onceOverhead
	}
	s.addLocked(entry, now)
	return nil
}

func (s *onceStore) addLocked(entry *onceEntry, now time.Time) {
	s.m[entry.key] = s.order.PushFront(entry)
	s.bytes += entry.size
	// What is under way is passed over: it is soon finished, and the number of
	// calls at once is bounded elsewhere.
	for e := s.order.Back(); e != nil; {
		old, prev := e.Value.(*onceEntry), e.Prev()
		expired := old.reply.Done && !now.Before(old.until)
		if s.bytes <= s.limit && !expired || old == entry {
			return
		}
		if expired || old.reply.Done {
			s.removeLocked(e)
			if !expired {
				s.dropped()
			}
		}
		e = prev
	}
}

func (s *onceStore) removeLocked(e *list.Element) {
	entry := s.order.Remove(e).(*onceEntry)
	delete(s.m, entry.key)
	s.bytes -= entry.size
}
