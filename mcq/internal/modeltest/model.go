package modeltest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// message is what was put.
type message struct {
	id       uint64
	body     string
	flags    uint32
	key      string
	enqueued time.Time
	ttl      time.Duration // its own, or the queue's MaxAge if that is less
	dead     *mcq.Dead
}

func (m *message) expired(now time.Time) bool { return m.ttl > 0 && now.Sub(m.enqueued) >= m.ttl }

// log is what is put into one queue, for its own readers and its subscribers.
type log struct {
	opt     mcq.QueueOptions
	next    uint64 // id of the next message
	keys    map[string]keyed
	doubles uint64
	readers []*reader // the queue itself, then its subscribers
}

type keyed struct {
	id uint64
	at time.Time
}

// known is the message that has the key already, or 0.
func (l *log) known(key string, now time.Time) uint64 {
	if k, ok := l.keys[key]; ok && key != "" && now.Sub(k.at) < l.opt.DedupeWindow {
		return k.id
	}
	return 0
}

// span is how many messages a cluster counts: also what is acknowledged, until all
// before it is.
func (l *log) span() int {
	first := l.next
	for _, m := range l.readers {
		for id := range m.msgs {
			first = min(first, id)
		}
	}
	return int(l.next - first)
}

type lease struct {
	until   time.Time
	receipt uint64
}

// reader is a queue as its readers see it, or a subscriber, in the plainest form.
// Each of its messages is in one of ready, again, delayed and leased.
type reader struct {
	name    string
	opt     mcq.QueueOptions
	log     *log
	start   uint64 // id of its first message: a subscriber joins late
	msgs    map[uint64]*message
	ready   []uint64 // never handed out, ascending
	again   []uint64 // came back, or their time came
	delayed map[uint64]time.Time
	leased  map[uint64]lease
	tries   map[uint64]int
	last    map[uint64]uint64 // receipts of the last leases
	stale   []uint64          // and of those before them
	paused  bool

	discarded, buried uint64
}

// gone takes a message out of the queue.
func (m *reader) gone(id uint64) {
	delete(m.msgs, id)
	delete(m.tries, id)
	delete(m.last, id)
	delete(m.delayed, id)
	delete(m.leased, id)
	for _, list := range []*[]uint64{&m.ready, &m.again} {
		if i := slices.Index(*list, id); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
		}
	}
}

// live is how many messages there are that have not expired, and their bytes.
func (m *reader) live(now time.Time) (n int, size int64) {
	for _, msg := range m.msgs {
		if !msg.expired(now) {
			n++
			size += int64(len(msg.body))
		}
	}
	return n, size
}

func (m *reader) size() (size int64) {
	for _, msg := range m.msgs {
		size += int64(len(msg.body))
	}
	return size
}

// dying reports whether a message has been handed out for the last time.
func (m *reader) dying(id uint64) bool {
	return m.opt.MaxAttempts > 0 && m.tries[id] >= m.opt.MaxAttempts
}

// next is what is to be handed out next, at most limit messages.
func (m *reader) next(limit int, now time.Time) (list []uint64) {
	if m.paused {
		return nil
	}
	return m.first(limit, now)
}

// first is next, paused or not.
func (m *reader) first(limit int, now time.Time) (list []uint64) {
	for _, from := range [][]uint64{m.again, m.ready} {
		if len(list) > 0 {
			break // what came back is not mixed with what is new
		}
		for _, id := range from {
			if len(list) < limit && !m.msgs[id].expired(now) {
				list = append(list, id)
			}
		}
	}
	return list
}

// back makes messages the next to be handed out.
func (m *reader) back(ids ...uint64) {
	for _, id := range ids {
		delete(m.leased, id)
		delete(m.delayed, id)
		m.ready = slices.DeleteFunc(m.ready, func(other uint64) bool { return other == id })
		i, _ := slices.BinarySearch(m.again, id)
		m.again = slices.Insert(m.again, i, id)
	}
}

// due returns the leases that have run out, those first that did so first.
func (m *reader) due(now time.Time) (groups [][]uint64) {
	ended := make(map[time.Time][]uint64)
	for _, id := range slices.Sorted(maps.Keys(m.leased)) {
		if until := m.leased[id].until; !until.After(now) {
			ended[until] = append(ended[until], id)
		}
	}
	for _, until := range slices.SortedFunc(maps.Keys(ended), time.Time.Compare) {
		groups = append(groups, ended[until])
	}
	return groups
}

// reopen is what a restart does: leases are void, a pause is over.
func (m *reader) reopen() {
	m.stale = slices.AppendSeq(m.stale, maps.Values(m.last))
	slices.Sort(m.stale) // for a run to be the same again
	clear(m.last)
	m.ready = slices.AppendSeq(m.ready, maps.Keys(m.leased))
	m.ready = slices.Sorted(slices.Values(append(m.ready, m.again...)))
	m.again, m.paused = nil, false
	clear(m.leased)
}

// model is all queues.
type model struct {
	options map[string]mcq.QueueOptions
	readers map[string]*reader
	cluster bool
}

// find returns a queue, made if it has to be.
func (all *model) find(name string) *reader {
	if m := all.readers[name]; m != nil {
		return m
	}
	owner, _, isSub := strings.Cut(name, "+")
	m := &reader{
		name: name, opt: all.options[name], start: 1, msgs: make(map[uint64]*message),
		delayed: make(map[uint64]time.Time), leased: make(map[uint64]lease), tries: make(map[uint64]int),
		last: make(map[uint64]uint64),
	}
	if isSub {
		m.log = all.find(owner).log
		m.start = m.log.next
	} else {
		m.log = &log{opt: m.opt, next: 1, keys: make(map[string]keyed)}
		m.log.opt.DedupeWindow = cmp.Or(m.opt.DedupeWindow, 2*time.Minute)
	}
	m.log.readers = append(m.log.readers, m)
	all.readers[name] = m
	return m
}

func (all *model) drop(name string) (there bool) {
	m := all.readers[name]
	if m == nil {
		return false
	}
	for reader := range all.readers {
		if reader == name || strings.HasPrefix(reader, name+"+") {
			delete(all.readers, reader)
		}
	}
	m.log.readers = slices.DeleteFunc(m.log.readers, func(r *reader) bool { return r == m })
	return true
}

// verdict is whether a queue is full.
type verdict int

const (
	fits    verdict = iota
	perhaps         // it depends on whether what has expired is gone yet
	full
)

// makeRoom is what a put does before it stores anything; it drops the oldest messages
// where it may.
func (all *model) makeRoom(l *log, msgs []mcq.Message, now time.Time) (v verdict) {
	n, size := 0, int64(0)
	here := make(map[string]bool)
	for _, msg := range msgs {
		if l.known(msg.Key, now) != 0 || here[msg.Key] {
			continue
		}
		here[msg.Key] = msg.Key != ""
		n++
		size += int64(len(msg.Body))
	}
	if n == 0 {
		return fits
	}
	for _, m := range l.readers {
		o := m.opt
		if o.MaxLength == 0 && o.MaxBytes == 0 || o.FanOut {
			continue
		}
		over := func(n int, size int64) bool {
			return o.MaxLength > 0 && n > o.MaxLength || o.MaxBytes > 0 && size > o.MaxBytes
		}
		live, bytes := m.live(now)
		there := len(m.msgs)
		if all.cluster {
			there = l.span()
		}
		switch {
		case !over(there+n, m.size()+size):
		case over(n, size):
			return full
		case o.DropOldest: // where nothing expires
			for over(len(m.msgs)+n, m.size()+size) {
				oldest := slices.Concat(m.again, m.ready)
				if len(oldest) == 0 {
					return full
				}
				m.gone(oldest[0])
				m.discarded++
			}
		case over(live+n, bytes+size):
			return full
		default:
			v = perhaps
		}
	}
	return v
}

// put stores msgs, for which there is room, and returns their ids.
func (all *model) put(l *log, msgs []mcq.Message, now time.Time) (ids []uint64) {
	for _, msg := range msgs {
		if id := l.known(msg.Key, now); id != 0 {
			ids = append(ids, id)
			l.doubles++
			continue
		}
		id := l.next
		l.next++
		ids = append(ids, id)
		if msg.Key != "" {
			l.keys[msg.Key] = keyed{id, now}
		}
		for _, m := range l.readers {
			if m.opt.FanOut {
				continue
			}
			ttl := msg.TTL
			if age := m.opt.MaxAge; age > 0 && (ttl == 0 || age < ttl) {
				ttl = age
			}
			m.msgs[id] = &message{id: id, body: string(msg.Body), flags: msg.Flags, key: msg.Key, enqueued: msg.Enqueued, ttl: ttl, dead: msg.Dead}
			if msg.Delay > 0 {
				m.delayed[id] = msg.Enqueued.Add(msg.Delay)
			} else {
				m.ready = append(m.ready, id)
			}
		}
	}
	return ids
}

// bury moves messages to the dead letters as far as there is room, and returns how
// many there was none for: they come again.
func (all *model) bury(m *reader, ids []uint64, reason string, now time.Time) (left int) {
	slices.Sort(ids)
	for i, id := range ids {
		msg := m.msgs[id]
		if name := m.opt.DeadLetters; name != "" {
			to := all.find(name)
			if most := to.opt.MaxLength; most > 0 && len(to.msgs) >= most {
				m.back(ids[i:]...)
				return len(ids) - i
			}
			letter := mcq.Message{Body: []byte(msg.body), Flags: msg.flags, Dead: &mcq.Dead{Queue: m.name, ID: id, Attempts: m.tries[id], Reason: reason}}
			all.put(to.log, []mcq.Message{letter}, now)
		}
		m.gone(id)
		m.buried++
	}
	return 0
}

// advance is what the passing of time does.
func (all *model) advance(now time.Time) {
	for _, name := range slices.Sorted(maps.Keys(all.readers)) {
		m := all.readers[name]
		for _, group := range m.due(now) {
			var dying []uint64
			for _, id := range group {
				if m.dying(id) {
					dying = append(dying, id)
				} else {
					m.back(id)
				}
			}
			all.bury(m, dying, "the last lease ran out", now)
		}
		for id, at := range m.delayed {
			if !at.After(now) {
				m.back(id)
			}
		}
	}
}

// compare reports how counters differ. What has expired is counted when it would have
// been handed out.
func (m *reader) compare(s *mcq.QueueStats, now time.Time, cluster bool) error {
	live, _ := m.live(now)
	put, left := m.log.next-m.start, int(s.Put-s.Done)
	if cluster {
		if put = m.log.next - 1; left > len(m.msgs) || left < live || s.Put != put || s.Paused != m.paused {
			return fmt.Errorf("want %d put, %d to %d left, paused %v", put, live, len(m.msgs), m.paused)
		}
		return nil
	}
	if expired := int(s.Expired); s.Put != put || left > len(m.msgs) || left < live || expired < len(m.msgs)-left {
		return fmt.Errorf("want %d put, %d to %d left", put, live, len(m.msgs))
	}
	if s.Leased != len(m.leased) || s.Delayed != len(m.delayed) || s.Paused != m.paused {
		return fmt.Errorf("want %d leased, %d delayed, paused %v", len(m.leased), len(m.delayed), m.paused)
	}
	doubles := m.log.doubles
	if m != m.log.readers[0] {
		doubles = 0
	}
	if s.Discarded != m.discarded || s.Buried != m.buried || s.Duplicates != doubles {
		return fmt.Errorf("want %d discarded, %d buried, %d duplicates", m.discarded, m.buried, doubles)
	}
	if size := m.size(); m.opt.MaxBytes > 0 && left == len(m.msgs) && s.Bytes != size {
		return fmt.Errorf("want %d bytes", size)
	}
	return nil
}
