package jetqueue

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A queue's requests for messages are answered at one place, where it listens
// as long as it is in use. So what comes late, when the request was given up for
// want of an answer, is dealt out like everything else: where nobody listened,
// the server would keep it for Options.Failover.

// inbox is where a queue's messages come to.
type inbox struct {
	mu      sync.Mutex
	sub     *nats.Subscription // nil until the first request
	drained chan struct{}      // closed when nothing comes any more
	prefix  string             // subjects of requests are this and a number
	last    uint64
	open    map[string]*request // by subject
	closed  bool
}

// request asks for messages.
type request struct {
	subject string
	left    int           // messages that it may still bring; guarded by inbox.mu
	got     int           // messages that it brought; the same
	came    chan struct{} // holds one if something came
	ended   chan error    // holds what it ended with
}

// errMore ends a request that would have brought more bytes than it may.
var errMore = fmt.Errorf("jetqueue: more bytes than asked for: %w", nats.ErrTimeout)

// request asks for up to batch messages. The server answers at once if wait is
// 0, and else when it has so many or so long has passed.
func (q *Queue) request(batch int, wait time.Duration) (*request, error) {
	if !q.c.nc.IsConnected() {
		return nil, nats.ErrDisconnected // it would be sent when nobody waits any more
	}
	in := &q.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := q.listenLocked(); err != nil {
		return nil, err
	}
	in.last++
	r := &request{subject: in.prefix + strconv.FormatUint(in.last, 36), left: batch, came: make(chan struct{}, 1), ended: make(chan error, 1)}
	in.open[r.subject] = r
	// What one message at most takes must fit.
	most := max(leaseBytes, q.c.nc.MaxPayload()+headerRoom)
	body := fmt.Appendf(nil, `{"batch":%d,"max_bytes":%d,`, batch, most)
	if wait > 0 {
		body = fmt.Appendf(body, `"expires":%d}`, wait.Nanoseconds())
	} else {
		body = append(body, `"no_wait":true}`...)
	}
	if err := q.c.nc.PublishRequest(q.pull, r.subject, body); err != nil {
		delete(in.open, r.subject)
		return nil, err
	}
	return r, nil
}

func (q *Queue) listenLocked() (err error) {
	in := &q.in
	if in.closed {
		return nats.ErrBadSubscription
	}
	if in.sub != nil {
		return nil
	}
	in.prefix, in.open, in.drained = q.c.nc.NewInbox()+".", make(map[string]*request), make(chan struct{})
	if in.sub, err = q.c.nc.Subscribe(in.prefix+"*", q.arrived); err != nil {
		return err
	}
	drained := in.drained
	in.sub.SetClosedHandler(func(string) { close(drained) })
	return in.sub.SetPendingLimits(-1, -1) // requests bound it
}

// stopListening ends the queue's requests. What has come is still given back.
func (q *Queue) stopListening() {
	in := &q.in
	in.mu.Lock()
	in.closed = true
	sub := in.sub
	in.mu.Unlock()
	if sub == nil || sub.Drain() != nil {
		return
	}
	select {
	case <-in.drained:
	case <-time.After(q.c.opt.attempt()):
		sub.Unsubscribe()
	}
}

// arrived is called with what comes, one after the other.
func (q *Queue) arrived(msg *nats.Msg) {
	err, status := requestStatus(msg)
	if !status {
		q.deal(msg)
	}
	in := &q.in
	in.mu.Lock()
	defer in.mu.Unlock()
	r := in.open[msg.Subject]
	if r == nil {
		return // given up
	}
	if !status {
		r.left--
		r.got++
	}
	if status || r.left == 0 {
		delete(in.open, r.subject)
		r.ended <- err
		return
	}
	select {
	case r.came <- struct{}{}:
	default:
	}
}

// requestStatus tells a message from word of the request itself, which ends it;
// err is nil if that is because there is nothing more at the moment.
func requestStatus(msg *nats.Msg) (err error, status bool) {
	if msg.Reply != "" {
		return nil, false // a delivery, whatever its headers say
	}
	code := first(msg.Header, "Status")
	switch text := first(msg.Header, "Description"); {
	case code == "404", code == "408", code == "409" && strings.Contains(text, "Batch Completed"):
		return nil, true
	case code == "503":
		return nats.ErrNoResponders, true
	case code == "409" && strings.Contains(text, "MaxBytes"):
		return errMore, true
	case code == "409" && strings.Contains(text, "Consumer Deleted"):
		return jetstream.ErrConsumerDeleted, true
	case code == "409" && strings.Contains(text, "Leadership Change"):
		return jetstream.ErrConsumerLeadershipChanged, true
	case code == "409" && strings.Contains(text, "Server Shutdown"):
		return jetstream.ErrServerShutdown, true
	case code == "409" && strings.Contains(text, "Exceeded MaxWaiting"): // many processes wait
		return fmt.Errorf("%s: %w", text, nats.ErrTimeout), true
	default:
		return fmt.Errorf("status %s %s", code, text), true
	}
}

// awaitRequest returns when r has ended, or when there was no sign of it for so long.
func (q *Queue) awaitRequest(r *request, patience time.Duration) (got int, err error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	defer func() {
		q.in.mu.Lock()
		defer q.in.mu.Unlock()
		delete(q.in.open, r.subject)
		got = r.got
	}()
	for {
		select {
		case err = <-r.ended:
			return 0, err
		case <-r.came:
			timer.Reset(patience)
		case <-timer.C:
			return 0, nats.ErrTimeout
		case <-q.c.ctx.Done():
			return 0, nil
		}
	}
}
