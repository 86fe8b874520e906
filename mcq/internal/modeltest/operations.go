package modeltest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// Each operation does the same to a queue and to the model, and compares what they say.

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
