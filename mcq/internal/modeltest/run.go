package modeltest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
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
