package modeltest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// long is longer than a test.
const long = time.Hour

// queue is what all queues of ours can do.
type queue interface {
	mcq.BackendQueue
	Put(ctx context.Context, msgs ...mcq.Message) error
	Take(ctx context.Context) (mcq.Message, error)
	Reject(ctx context.Context, reason string, ids ...uint64) error
	Purge(ctx context.Context) (int, error)
	Peek(ctx context.Context, limit int) ([]mcq.Message, error)
}

// run is a sequence under way.
type run struct {
	model
	kind   Kind
	e      Engine
	ctx    context.Context
	rnd    *rand.Rand // of the step
	bodies int
	said   []string

	patience time.Duration // how long what should happen at once may take
}

// wrong is what an engine did and the model did not.
type wrong struct{ error }

func (r *run) fail(format string, args ...any) { panic(wrong{fmt.Errorf(format, args...)}) }

// say notes what is done.
func (r *run) say(format string, args ...any) { r.said = append(r.said, fmt.Sprintf(format, args...)) }

// steps carries out all steps, then empties all queues. It returns what was done, and
// what was wrong with it.
func (r *run) steps(list []Step) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w, ok := p.(wrong)
			if !ok {
				panic(p)
			}
			err = w.error
		}
	}()
	for _, s := range list {
		r.rnd = rand.New(rand.NewPCG(s.seed, 1))
		r.align()
		r.do(s)
	}
	r.empty()
	return nil
}

// align waits for the next whole second: what is to happen later happens half a second
// before or behind one. Only where time costs nothing.
func (r *run) align() {
	if !r.kind.Virtual {
		return
	}
	now := time.Now()
	if whole := now.Truncate(time.Second); !whole.Equal(now) {
		time.Sleep(whole.Add(time.Second).Sub(now))
	}
	r.advance(time.Now())
}

func (r *run) now() time.Time { return time.Now() }

func (r *run) queue(name string) (*reader, queue) {
	q, err := r.e.Backend.FindQueue(r.ctx, name, true)
	if err != nil {
		r.fail("FindQueue(%s): %v", name, err)
	}
	all, ok := q.(queue)
	if !ok {
		r.fail("a %T does not have all methods", q)
	}
	return r.find(name), all
}

// span is a time that ends while the test runs, or not.
func (r *run) span() (d time.Duration, soon bool) {
	switch {
	case r.kind.Virtual && r.rnd.IntN(3) > 0:
		return time.Duration(1+r.rnd.IntN(6))*time.Second - time.Second/2, false
	case r.kind.Soon > 0 && r.rnd.IntN(16) == 0:
		return r.kind.Soon, true
	}
	return long, false
}

// pass waits until d is over and what was to happen then has happened.
func (r *run) pass(m *reader, d time.Duration) {
	time.Sleep(d + 5*time.Millisecond)
	r.advance(r.now())
	r.within(func() error {
		s, err := r.stats(m.name)
		if err == nil && (s.Leased != len(m.leased) || s.Delayed != len(m.delayed)) {
			err = fmt.Errorf("%s has %d leased and %d delayed, want %d and %d", m.name, s.Leased, s.Delayed, len(m.leased), len(m.delayed))
		}
		return err
	})
}

// within waits until cond is nil.
func (r *run) within(cond func() error) {
	for end := time.Now().Add(r.patience); ; time.Sleep(2 * time.Millisecond) {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			r.fail("%v", err)
		}
	}
}

func (r *run) stats(name string) (mcq.QueueStats, error) {
	all, err := r.e.Backend.QueueStats(r.ctx)
	for _, s := range all {
		if s.Name == name {
			return s, err
		}
	}
	return mcq.QueueStats{}, errors.Join(err, fmt.Errorf("no queue %s", name))
}

// put puts some messages.
func (r *run) put(m *reader, q queue) {
	if strings.Contains(m.name, "+") {
		r.say("put to %s", m.name)
		if err := q.Put(r.ctx, mcq.Message{}); !errors.Is(err, mcq.ErrName) {
			r.fail("put to the subscriber %s: %v", m.name, err)
		}
		return
	}
	msgs := make([]mcq.Message, 1+r.rnd.IntN(5))
	limited := slices.ContainsFunc(m.log.readers, func(r *reader) bool { return r.opt.MaxLength > 0 || r.opt.MaxBytes > 0 })
	if limited && r.kind.OneByOne {
		msgs = msgs[:1]
	}
	soon := time.Duration(0)
	words := ""
	for i := range msgs {
		r.bodies++
		room := 300
		if m.opt.MaxBytes > 0 {
			room = 90
		}
		msgs[i] = mcq.Message{Body: fmt.Appendf(nil, "%d %0*d", r.bodies, r.rnd.IntN(room), 0), Flags: r.rnd.Uint32()}
		words += fmt.Sprintf(" %d", r.bodies)
		if kinds[m.name].keys && r.rnd.IntN(3) == 0 {
			msgs[i].Key = fmt.Sprintf("key%d", r.rnd.IntN(6))
			words += " " + msgs[i].Key
		}
		d, isSoon := r.span()
		if isSoon {
			d = 20 * time.Millisecond
		}
		switch r.rnd.IntN(6) {
		case 0:
			if kinds[m.name].ttl {
				msgs[i].TTL = d
				words += fmt.Sprintf(" TTL %v", d)
			}
		case 1:
			if kinds[m.name].delay && !r.cluster {
				msgs[i].Delay = d
				words += fmt.Sprintf(" Delay %v", d)
			}
		}
		if isSoon && msgs[i].TTL+msgs[i].Delay > 0 {
			soon = d
		}
	}
	now := r.now()
	v := r.makeRoom(m.log, msgs, now)
	err := q.Put(r.ctx, msgs...)
	r.say("put to %s%s: %v", m.name, words, err)
	switch isFull := errors.Is(err, mcq.ErrFull); {
	case err != nil && !isFull:
		r.fail("put to %s: %v", m.name, err)
	case isFull && v == fits:
		r.fail("there is room in %s, which has %d messages: %v", m.name, len(m.msgs), err)
	case !isFull && v == full:
		r.fail("%s is full with %d messages of %d bytes, and takes %d more", m.name, len(m.msgs), m.size(), len(msgs))
	case isFull:
		return
	}
	want := r.model.put(m.log, msgs, now)
	for i, id := range want {
		if msgs[i].ID != id {
			r.fail("put to %s gave id %d, want %d", m.name, msgs[i].ID, id)
		}
	}
	if soon > 0 {
		r.pass(m, soon)
	}
}

// got checks what an engine handed out and has the model do the same; until is the end
// of the leases, zero if there are none.
func (r *run) got(m *reader, limit int, msgs []mcq.Message, until time.Time) {
	now := r.now()
	want := m.next(limit, now)
	ids := idsOf(msgs)
	// It may stop early, as where its memory ends, but not before the first.
	if len(ids) == 0 && len(want) > 0 || len(ids) > limit || !slices.Equal(ids, want[:min(len(ids), len(want))]) {
		r.fail("%s handed out %v, want %v", m.name, ids, want)
	}
	for i := range msgs {
		msg := &msgs[i]
		w := m.msgs[msg.ID]
		m.tries[w.id]++
		r.check(m, msg, w)
		if msg.Attempts != m.tries[w.id] {
			r.fail("%s: message %d is handed out %d times, want %d", m.name, w.id, msg.Attempts, m.tries[w.id])
		}
		for _, from := range []*[]uint64{&m.again, &m.ready} {
			*from = slices.DeleteFunc(*from, func(id uint64) bool { return id == w.id })
		}
		if last := m.last[w.id]; last != 0 {
			m.stale = append(m.stale, last)
		}
		if until.IsZero() {
			m.gone(w.id)
			continue
		}
		if msg.Receipt&(1<<48-1) != w.id || msg.Receipt == w.id {
			r.fail("%s: message %d has receipt %x", m.name, w.id, msg.Receipt)
		}
		m.leased[w.id] = lease{until, msg.Receipt}
		m.last[w.id] = msg.Receipt
	}
}

// check compares a message with what was put.
func (r *run) check(m *reader, got *mcq.Message, want *message) {
	if string(got.Body) != want.body || got.Flags != want.flags || got.Key != want.key {
		r.fail("%s: message %d is %.20q, flags %d, key %q; want %.20q, %d, %q", m.name, want.id, got.Body, got.Flags, got.Key, want.body, want.flags, want.key)
	}
	if want.dead == nil && !r.cluster && !got.Enqueued.Equal(want.enqueued) {
		r.fail("%s: message %d is of %v, want %v", m.name, want.id, got.Enqueued, want.enqueued)
	}
	switch {
	case got.Dead == nil && want.dead == nil:
	case got.Dead == nil || want.dead == nil:
		r.fail("%s: message %d is dead: %+v, want %+v", m.name, want.id, got.Dead, want.dead)
	default:
		if *got.Dead != *want.dead {
			r.fail("%s: message %d is dead: %+v, want %+v", m.name, want.id, *got.Dead, *want.dead)
		}
	}
}

// lastLease is why what nobody could use is dead.
const lastLease = "the last lease was given back"

// lease leases some messages.
func (r *run) lease(m *reader, q queue) {
	limit := 1 + r.rnd.IntN(12)
	if r.rnd.IntN(8) == 0 {
		limit = 60
	}
	d, soon := r.span()
	r.leaseSome(m, q, limit, d)
	if soon {
		r.pass(m, d)
	}
}

func (r *run) leaseSome(m *reader, q queue, limit int, d time.Duration) {
	o := mcq.LeaseOptions{Duration: d}
	if len(m.next(limit, r.now())) > 0 {
		o.Wait = r.patience
	}
	until := r.now().Add(d)
	msgs, err := q.Lease(r.ctx, limit, o)
	r.say("lease %d of %s for %v: %v, %v", limit, m.name, d, idsOf(msgs), err)
	if err != nil {
		r.fail("lease of %s: %v", m.name, err)
	}
	r.got(m, limit, msgs, until)
}

// take removes a message.
func (r *run) take(m *reader, q queue) {
	var msgs []mcq.Message
	var err error
	if r.cluster && len(m.next(1, r.now())) > 0 {
		msgs, err = q.Remove(r.ctx, 1, r.patience)
	} else {
		var msg mcq.Message
		if msg, err = q.Take(r.ctx); err == nil {
			msgs = []mcq.Message{msg}
		} else if errors.Is(err, mcq.ErrEmpty) {
			err = nil
		}
	}
	r.say("take from %s: %v, %v", m.name, idsOf(msgs), err)
	if err != nil {
		r.fail("take from %s: %v", m.name, err)
	}
	r.got(m, 1, msgs, time.Time{})
}

// some are a random part of the messages that are leased, by id or receipt, and
// perhaps something that is not leased.
func (r *run) some(m *reader) (ids, names []uint64, missing bool) {
	for _, id := range sorted(m.leased) {
		if r.rnd.IntN(2) == 0 {
			ids = append(ids, id)
		}
	}
	names = slices.Clone(ids)
	for i, id := range ids {
		if r.rnd.IntN(2) == 0 {
			names[i] = m.leased[id].receipt
		}
	}
	if r.rnd.IntN(4) == 0 {
		if no := r.notLeased(m); no != 0 {
			names, missing = append(names, no), true
		}
	}
	return ids, names, missing
}

// notLeased is an id or a receipt that is none of a lease.
func (r *run) notLeased(m *reader) uint64 {
	switch r.rnd.IntN(4) {
	case 0:
		if len(m.stale) > 0 {
			return m.stale[r.rnd.IntN(len(m.stale))]
		}
	case 1:
		if len(m.ready) > 0 {
			return m.ready[r.rnd.IntN(len(m.ready))]
		}
	case 2:
		if list := sorted(m.delayed); len(list) > 0 {
			return list[r.rnd.IntN(len(list))]
		}
	}
	return m.log.next + uint64(r.rnd.IntN(5))
}

// notLeasedIs checks the error of something of which some was not leased, or was not.
func (r *run) notLeasedIs(what string, m *reader, missing bool, err error) {
	if errors.Is(err, mcq.ErrNotLeased) != missing || err != nil && !missing {
		r.fail("%s to %s, which has %v leased: %v, not leased: %v", what, m.name, sorted(m.leased), err, missing)
	}
}

func (r *run) ack(m *reader, q queue) {
	ids, names, missing := r.some(m)
	if len(m.again) > 0 && r.rnd.IntN(3) == 0 && !r.cluster {
		// Late, but nobody else has it.
		if id := m.again[r.rnd.IntN(len(m.again))]; m.last[id] != 0 && !m.msgs[id].expired(r.now()) {
			ids = append(ids, id)
			names = append(names, []uint64{id, m.last[id]}[r.rnd.IntN(2)])
		}
	}
	r.rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	err := q.Ack(r.ctx, names...)
	r.say("ack to %s %v: %v", m.name, short(names), err)
	r.notLeasedIs("ack", m, missing, err)
	for _, id := range ids {
		m.stale = append(m.stale, m.last[id])
		m.gone(id)
	}
}

func (r *run) nack(m *reader, q queue) {
	ids, names, missing := r.some(m)
	err := q.Nack(r.ctx, names...)
	r.say("nack to %s %v: %v", m.name, short(names), err)
	var dying []uint64
	for _, id := range ids {
		if m.dying(id) {
			dying = append(dying, id)
		} else {
			m.back(id)
		}
	}
	if left := r.bury(m, dying, lastLease, r.now()); left > 0 {
		if !errors.Is(err, mcq.ErrFull) {
			r.fail("nack to %s with no room for the dead: %v", m.name, err)
		}
		return
	}
	r.notLeasedIs("nack", m, missing, err)
}

func (r *run) reject(m *reader, q queue) {
	ids, names, missing := r.some(m)
	if len(ids) > 3 {
		ids, names, missing = ids[:2], names[:2], false
	}
	reason := fmt.Sprintf("no use: %d%% of it", r.rnd.IntN(100))
	err := q.Reject(r.ctx, reason, names...)
	r.say("reject from %s %v: %v", m.name, short(names), err)
	if left := r.bury(m, ids, reason, r.now()); left > 0 {
		if !errors.Is(err, mcq.ErrFull) {
			r.fail("reject from %s with no room for the dead: %v", m.name, err)
		}
		return
	}
	r.notLeasedIs("reject", m, missing, err)
}

func (r *run) extend(m *reader, q queue) {
	d, soon := r.span()
	list := sorted(m.leased)
	missing := len(list) == 0 || r.rnd.IntN(4) == 0
	var id, name uint64
	if missing {
		name = r.notLeased(m)
	} else {
		id = list[r.rnd.IntN(len(list))]
		if name = id; r.rnd.IntN(2) == 0 {
			name = m.leased[id].receipt
		}
	}
	until := r.now().Add(d)
	err := q.Extend(r.ctx, name, d)
	r.say("extend %s %v to %v: %v", m.name, short([]uint64{name}), d, err)
	r.notLeasedIs("extend", m, missing, err)
	if !missing {
		m.leased[id] = lease{until, m.leased[id].receipt}
		if soon {
			r.pass(m, d)
		}
	}
}

func (r *run) purge(m *reader, q queue) {
	if r.cluster && m.paused {
		return // it cannot
	}
	n, err := q.Purge(r.ctx)
	r.say("purge %s: %d, %v", m.name, n, err)
	live, all := 0, 0
	for _, id := range slices.Concat(m.ready, m.again, sorted(m.delayed)) {
		if all++; !m.msgs[id].expired(r.now()) {
			live++
		}
	}
	if err != nil || n < live || n > all {
		r.fail("%s: purged %d, want %d to %d: %v", m.name, n, live, all, err)
	}
	for _, id := range slices.Concat(m.ready, m.again, sorted(m.delayed)) {
		m.gone(id)
	}
}

func (r *run) peek(m *reader, q queue) {
	limit := 1 + r.rnd.IntN(9)
	msgs, err := q.Peek(r.ctx, limit)
	r.say("peek at %s, %d: %v, %v", m.name, limit, idsOf(msgs), err)
	if err != nil {
		r.fail("peek at %s: %v", m.name, err)
	}
	ids, want := idsOf(msgs), m.first(limit, r.now())
	if len(ids) > len(want) || !slices.Equal(ids, want[:len(ids)]) { // it may show less
		r.fail("peek at %s shows %v, want %v", m.name, ids, want)
	}
	for i := range msgs {
		r.check(m, &msgs[i], m.msgs[msgs[i].ID])
	}
}

func (r *run) drop(name string) {
	there, err := r.e.Backend.DropQueue(r.ctx, name)
	r.say("drop %s: %v, %v", name, there, err)
	if want := r.model.drop(name); err != nil || there != want {
		r.fail("drop of %s: %v, %v, want %v", name, there, err, want)
	}
}

func (r *run) pause(m *reader) {
	m.paused = !m.paused
	err := r.e.Pause(m.name, m.paused)
	r.say("pause %s: %v, %v", m.name, m.paused, err)
	if err != nil {
		r.fail("pause %s: %v", m.name, err)
	}
}

func (r *run) reopenAll() {
	r.say("reopen")
	b, err := r.e.Reopen()
	if err != nil {
		r.fail("reopen: %v", err)
	}
	r.e.Backend = b
	for _, name := range sorted(r.readers) {
		m := r.readers[name]
		m.reopen()
		r.bury(m, slices.DeleteFunc(slices.Clone(m.ready), func(id uint64) bool { return !m.dying(id) }), "the last lease ran out", r.now())
	}
	time.Sleep(time.Second / 2) // they are buried a moment later
}

// look compares the counters, which may lag behind.
func (r *run) look() {
	r.say("look")
	r.within(func() error {
		all, err := r.e.Backend.QueueStats(r.ctx)
		if err != nil {
			return err
		}
		if len(all) != len(r.readers) {
			return fmt.Errorf("there are %d queues, want %v", len(all), sorted(r.readers))
		}
		for i, name := range sorted(r.readers) {
			m := r.readers[name]
			if err := m.compare(&all[i], r.now(), r.cluster); err != nil {
				return fmt.Errorf("%s: %v: %+v", name, err, all[i])
			}
		}
		return nil
	})
}

// empty lets all leases run out, or gives them back, and reads all there is.
func (r *run) empty() {
	r.say("empty all")
	if r.kind.Virtual {
		time.Sleep(2 * long)
		r.align()
	}
	for _, name := range sorted(r.readers) {
		m, q := r.queue(name)
		if m.paused {
			r.pause(m)
		}
		if len(m.leased) > 0 { // where time does not pass
			if err := q.Ack(r.ctx, sorted(m.leased)...); err != nil {
				r.fail("ack to %s: %v", name, err)
			}
			for _, id := range sorted(m.leased) {
				m.gone(id)
			}
		}
		for {
			r.leaseSome(m, q, 1000, long)
			if len(m.leased) == 0 {
				break
			}
			if err := q.Ack(r.ctx, sorted(m.leased)...); err != nil {
				r.fail("ack to %s: %v", name, err)
			}
			for _, id := range sorted(m.leased) {
				m.gone(id)
			}
		}
		for _, id := range sorted(m.msgs) {
			if m.msgs[id].expired(r.now()) { // it has been passed
				m.gone(id)
			} else if _, ok := m.delayed[id]; !ok {
				r.fail("%s: message %d is nowhere", name, id)
			}
		}
	}
	r.look()
}

// do carries out a step, unless the engine has no sense for it.
func (r *run) do(s Step) {
	name := r.kind.Names[s.queue%len(r.kind.Names)]
	switch s.op {
	case opDrop:
		r.drop(name)
		return
	case opReopen:
		if r.e.Reopen == nil {
			return
		}
		r.reopenAll()
		return
	case opLook:
		r.look()
		return
	case opWait:
		if !r.kind.Virtual {
			return
		}
		d := time.Duration(1+r.rnd.IntN(5)) * time.Second
		r.say("wait %v", d)
		time.Sleep(d)
		return
	}
	m, q := r.queue(name)
	switch s.op {
	case opPut:
		r.put(m, q)
	case opLease:
		r.lease(m, q)
	case opTake:
		r.take(m, q)
	case opAck:
		r.ack(m, q)
	case opNack:
		if !r.cluster {
			r.nack(m, q)
		}
	case opReject:
		r.reject(m, q)
	case opExtend:
		r.extend(m, q)
	case opPurge:
		r.purge(m, q)
	case opPeek:
		r.peek(m, q)
	case opPause:
		r.pause(m)
	}
}

func idsOf(msgs []mcq.Message) []uint64 {
	ids := make([]uint64, len(msgs))
	for i := range msgs {
		ids[i] = msgs[i].ID
	}
	return ids
}

// short writes receipts as their ids with a stroke.
func short(names []uint64) []string {
	list := make([]string, len(names))
	for i, n := range names {
		if list[i] = fmt.Sprint(n & (1<<48 - 1)); n>>48 != 0 {
			list[i] += fmt.Sprintf("'%x", n>>48)
		}
	}
	return list
}

func sorted[K cmp.Ordered, V any](set map[K]V) []K { return slices.Sorted(maps.Keys(set)) }
