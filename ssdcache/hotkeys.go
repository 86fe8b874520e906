package ssdcache

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

const (
	hotSample   = 32 // one get in so many is looked at
	hotEvidence = 10 // samples that a key with just HotShare has when the hot ones are chosen
)

// HotKey is a key that many ask for.
type HotKey struct {
	Key   string
	Share float64 // of the gets lately, at least
}

// hotKeys finds the keys that make up a share of the gets. It is the
// Space-Saving summary of Metwally, Agrawal and El Abbadi, "Efficient
// Computation of Frequent and Top-k Elements in Data Streams", ICDT 2005, over a
// sample, halved at intervals so that it forgets: a fixed number of counters, a
// key that has none takes over the smallest, and its count is an upper bound that
// is too large by err at most.
type hotKeys struct {
	share    float64
	interval int // samples between choices
	most     int // counters

	mu       sync.Mutex
	counters hotHeap
	byKey    map[string]*hotCounter
	total    int // samples in the counts
	since    int // of them since the last choice
	chosen   []HotKey
}

type hotCounter struct {
	key        string
	count, err int
	at         int  // in the heap
	hot        bool // among the chosen
}

func newHotKeys(share float64) *hotKeys {
	return &hotKeys{
		share: share, interval: max(int(hotEvidence/share), 64), most: int(4/share) + 1,
		byKey: map[string]*hotCounter{},
	}
}

// sampled decides whether this get is one to note.
func (h *hotKeys) sampled() bool { return rand.Uint32()%hotSample == 0 }

// note counts a get of key. When it is time to choose anew it returns the hot
// ones, the hottest first. While another one counts, it does not.
func (h *hotKeys) note(key string) (hot []HotKey, chosen bool) {
	if len(key) > MaxKeySize || !h.mu.TryLock() {
		return nil, false
	}
	defer h.mu.Unlock()
	c := h.byKey[key]
	switch {
	case c != nil:
	case len(h.counters) < h.most:
		c = &hotCounter{key: strings.Clone(key)}
		heap.Push(&h.counters, c)
		h.byKey[c.key] = c
	default:
		c = h.counters[0]
		delete(h.byKey, c.key)
		*c = hotCounter{key: strings.Clone(key), count: c.count, err: c.count}
		h.byKey[c.key] = c
	}
	c.count++
	heap.Fix(&h.counters, c.at)
	h.total++
	if h.since++; h.since < h.interval {
		return nil, false
	}
	h.since = 0
	return h.chooseLocked(), true
}

// chooseLocked picks the keys that have the share, and of those that were hot
// the ones that have half of it.
func (h *hotKeys) chooseLocked() []HotKey {
	var hot []HotKey
	for _, c := range h.counters {
		share := float64(c.count-c.err) / float64(h.total)
		c.hot = share >= h.share || c.hot && share >= h.share/2
		if c.hot {
			hot = append(hot, HotKey{c.key, share})
		}
	}
	slices.SortFunc(hot, func(a, b HotKey) int { return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Key, b.Key)) })
	if h.total >= 2*h.interval {
		h.total /= 2
		for _, c := range h.counters {
			c.count, c.err = c.count/2, c.err/2
		}
		heap.Init(&h.counters)
	}
	h.chosen = hot
	return hot
}

// hottest returns those chosen last.
func (h *hotKeys) hottest() []HotKey {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.chosen)
}

// hotHeap has the counter with the smallest count first.
type hotHeap []*hotCounter

func (h hotHeap) Len() int           { return len(h) }
func (h hotHeap) Less(i, j int) bool { return h[i].count < h[j].count }
func (h hotHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *hotHeap) Push(x any) {
	c := x.(*hotCounter)
	c.at = len(*h)
	*h = append(*h, c)
}
func (h *hotHeap) Pop() any { panic("ssdcache: hot counters stay") }
