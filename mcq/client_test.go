package mcq_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/watchman"
)

func TestRemoteQueue(t *testing.T) {
	b := memBroker(t, nil)
	c := dial(t, serve(t, b))
	q := c.Queue("q")
	ctx := t.Context()
	sc := watchman.SpanContext{TraceID: watchman.TraceID{1}, SpanID: watchman.SpanID{2}, Flags: watchman.FlagSampled}
	err := q.Put(ctx, mcq.Message{Body: []byte("a\r\nb"), Flags: 7, Trace: sc}, mcq.Message{}, mcq.Message{Body: []byte("c")})
	if err != nil {
		t.Fatal(err)
	}
	msgs := lease(t, q, 2, mcq.LeaseOptions{Duration: time.Minute})
	expect(t, "leased", bodies(msgs), "a\r\nb", "")
	if m := msgs[0]; m.ID != 1 || m.Flags != 7 || m.Attempts != 1 || m.Trace.TraceID != sc.TraceID || m.Enqueued.IsZero() {
		t.Fatalf("got %+v", m)
	}
	if err := q.Extend(ctx, 1, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := q.Nack(ctx, 1); err != nil {
		t.Fatal(err)
	}
	again := lease(t, q, 9, mcq.LeaseOptions{})
	if len(again) != 1 || again[0].ID != 1 || again[0].Attempts != 2 {
		t.Fatalf("again %+v", again)
	}
	if err := q.Ack(ctx, 1, 2); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"ack": q.Ack(ctx, 1), "nack": q.Nack(ctx, 1), "extend": q.Extend(ctx, 1, time.Second)} {
		if !errors.Is(err, mcq.ErrNotLeased) || mcq.Retryable(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if m, err := q.Take(ctx); err != nil || string(m.Body) != "c" {
		t.Fatalf("took %q, %v", m.Body, err)
	}
	if _, err := q.Take(ctx); !errors.Is(err, mcq.ErrEmpty) {
		t.Fatalf("took from an empty queue: %v", err)
	}
	waiting := make(chan []string, 1)
	go func() { waiting <- bodies(lease(t, q, 1, mcq.LeaseOptions{Wait: patience})) }()
	put(t, q, "d")
	expect(t, "waited for", <-waiting, "d")
	if s := queue(t, b, "q").Stats(); s.Put != 4 || s.Done != 3 || s.Leased != 1 {
		t.Fatalf("stats %+v", s)
	}
}

// Ids of a large acknowledgement go out in several commands.
func TestLargeAcknowledgements(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never})
	q := dial(t, serve(t, b)).Queue("q")
	if err := q.Put(t.Context(), make([]mcq.Message, 10_000)...); err != nil {
		t.Fatal(err)
	}
	var all, odd []uint64
	for len(all) < 10_000 {
		all = append(all, ids(lease(t, q, 4096, mcq.LeaseOptions{Duration: time.Hour}))...)
	}
	for _, id := range all {
		if id%2 == 1 {
			odd = append(odd, id)
		}
	}
	slices.Reverse(odd)
	if err := q.Ack(t.Context(), odd...); err != nil {
		t.Fatal(err)
	}
	if s := queue(t, b, "q").Stats(); s.Done != 5000 || s.Leased != 5000 {
		t.Fatalf("stats %+v", s)
	}
}

// A client's names and sizes are checked before anything is sent.
func TestClientRefuses(t *testing.T) {
	c, err := mcq.Dial("127.0.0.1:1", &mcq.ClientOptions{MaxMessage: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	for _, name := range []string{"", "q\r\nflush_all", "q q", "q/n=1"} {
		q := c.Queue(name)
		_, leaseErr := q.Lease(ctx, 1, mcq.LeaseOptions{})
		_, takeErr := q.Take(ctx)
		_, peekErr := q.Peek(ctx, 1)
		_, purgeErr := q.Purge(ctx)
		_, dropErr := c.Drop(ctx, name)
		for what, err := range map[string]error{
			"put": q.Put(ctx, mcq.Message{}), "lease": leaseErr, "take": takeErr, "ack": q.Ack(ctx, 1), "nack": q.Nack(ctx, 1), "extend": q.Extend(ctx, 1, 0),
			"reject": q.Reject(ctx, "", 1), "peek": peekErr, "purge": purgeErr, "drop": dropErr,
		} {
			if !errors.Is(err, mcq.ErrName) {
				t.Errorf("%s of %q: %v", what, name, err)
			}
		}
	}
	q := c.Queue("q")
	if err := q.Put(ctx, mcq.Message{Body: make([]byte, 4)}); !errors.Is(err, mcq.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := q.Lease(ctx, 0, mcq.LeaseOptions{}); err == nil {
		t.Error("lease of no messages")
	}
	if _, err := q.Lease(ctx, 1, mcq.LeaseOptions{Wait: -1}); err == nil {
		t.Error("negative wait")
	}
	if err := errors.Join(q.Put(ctx), q.Ack(ctx), q.Nack(ctx)); err != nil {
		t.Errorf("nothing to do: %v", err)
	}
}

// A client survives its server: while it is away operations fail with what
// Retryable knows, and once it is back they work again.
func TestReconnect(t *testing.T) {
	b := memBroker(t, nil)
	s, addr := startServer(t, b, nil)
	c := dial(t, addr)
	q := c.Queue("q")
	put(t, q, "a")
	waiting := make(chan error, 1)
	go func() {
		_, err := c.Queue("empty").Lease(t.Context(), 1, mcq.LeaseOptions{Wait: patience})
		waiting <- err
	}()
	waitFor(t, "the reader", func() bool { return s.Stats().Gets == 1 })
	s.Close()
	if err := <-waiting; err != nil && !mcq.Retryable(err) {
		t.Errorf("waiting reader: %v", err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := q.Put(t.Context(), mcq.Message{}); !mcq.Retryable(err) || !errors.Is(err, mcq.ErrConnection) {
				t.Errorf("put while the server is away: %v", err)
			}
		})
	}
	wg.Wait()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	again, err := mcq.NewServer(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- again.Serve(ln) }()
	waitFor(t, "a put to work again", func() bool { return q.Put(t.Context(), mcq.Message{Body: []byte("b")}) == nil })
	expect(t, "there", bodies(lease(t, q, 9, mcq.LeaseOptions{})), "a", "b")
	again.Close()
	<-done
}

func TestClientClose(t *testing.T) {
	s, addr := startServer(t, memBroker(t, nil), nil)
	c := dial(t, addr)
	waiting := make(chan error, 1)
	go func() {
		_, err := c.Queue("q").Lease(t.Context(), 1, mcq.LeaseOptions{Wait: patience})
		waiting <- err
	}()
	put(t, c.Queue("other"), "a")
	waitFor(t, "the reader", func() bool { return s.Stats().Gets == 1 })
	c.Close()
	if err := <-waiting; !errors.Is(err, mcq.ErrClosed) || mcq.Retryable(err) {
		t.Errorf("waiting reader: %v", err)
	}
	c.Close()
	_, takeErr := c.Queue("q").Take(t.Context())
	for what, err := range map[string]error{"put": c.Queue("q").Put(t.Context(), mcq.Message{}), "take": takeErr} {
		if !errors.Is(err, mcq.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The waiting reader ends too: it must not get what comes next.
	waitFor(t, "the connections to end", func() bool { return s.Stats().Conns == 0 })
	put(t, dial(t, addr).Queue("q"), "b")
	if m, err := dial(t, addr).Queue("q").Take(t.Context()); err != nil || string(m.Body) != "b" {
		t.Errorf("took %q, %v", m.Body, err)
	}
}

// A caller whose ctx ends early costs the others nothing.
func TestImpatientCaller(t *testing.T) {
	hold := make(chan struct{})
	addr := fakeServer(t, func(in *bufio.Reader, out io.Writer) {
		for n := 0; ; n++ {
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
			if n == 0 {
				<-hold
			}
			io.WriteString(out, "1 1\r\n")
		}
	})
	q := dial(t, addr).Queue("q")
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- q.Put(ctx, mcq.Message{}) }()
	second := make(chan error, 1)
	go func() { second <- q.Put(t.Context(), mcq.Message{}) }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("first: %v", err)
	}
	close(hold)
	if err := <-second; err != nil {
		t.Errorf("second: %v", err)
	}
}

// Callers share one dial, and whose ctx ends meanwhile leaves it to the others.
func TestImpatientDialer(t *testing.T) {
	hold, asked := make(chan struct{}), make(chan struct{}, 9)
	addr := fakeServer(t, func(in *bufio.Reader, out io.Writer) {
		asked <- struct{}{}
		<-hold
		for reply := "STORED\r\n"; ; reply = "1 1\r\n" {
			for range 2 {
				if _, err := in.ReadString('\n'); err != nil {
					return
				}
			}
			io.WriteString(out, reply)
		}
	})
	c, err := mcq.Dial(addr, &mcq.ClientOptions{User: "ada", Password: "secret", Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q := c.Queue("q")
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- q.Put(ctx, mcq.Message{}) }()
	<-asked // it dials, and is not answered
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			if err := q.Put(t.Context(), mcq.Message{}); err != nil {
				t.Errorf("another: %v", err)
			}
		})
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) || !mcq.Retryable(err) {
		t.Errorf("first: %v", err)
	}
	close(hold)
	others.Wait()
	if n := len(asked); n != 0 {
		t.Errorf("%d more connections", n)
	}
}

// Close ends dials, of the shared connection and of a reader's own.
func TestCloseWhileDialling(t *testing.T) {
	asked := make(chan struct{}, 2)
	addr := fakeServer(t, func(in *bufio.Reader, _ io.Writer) {
		asked <- struct{}{}
		io.Copy(io.Discard, in)
	})
	c, err := mcq.Dial(addr, &mcq.ClientOptions{User: "ada", Password: "secret", Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { ended <- c.Queue("q").Put(t.Context(), mcq.Message{}) }()
	go func() {
		_, err := c.Queue("q").Take(t.Context())
		ended <- err
	}()
	<-asked
	<-asked
	c.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, mcq.ErrClosed) || mcq.Retryable(err) {
			t.Error(err)
		}
	}
}

// fakeServer answers each connection with f; it is for what no server of ours
// would say.
func fakeServer(t *testing.T, f func(in *bufio.Reader, out io.Writer)) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				f(bufio.NewReader(conn), conn)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// Whatever a server says, the client returns an error, and soon.
func TestHostileReplies(t *testing.T) {
	for _, reply := range []string{
		"", "\r\n", "ERROR\r\n", "SERVER_ERROR full\r\n", "VALUE\r\n", "VALUE q\r\n", "VALUE q 0\r\n", "VALUE q 0 x\r\n", "VALUE q 0 -1 1\r\n",
		"VALUE q 0 99999999999 1\r\n", "VALUE q 0 2147483647 1\r\n", "VALUE q 0 3 1\r\nab", "VALUE q 0 1 1\r\nabc\r\nEND\r\n", "VALUE q 0 0\r\n\r\nEND\r\n",
		"VALUE q x 5 1\r\n\x04\x01\x00\x00\x00\r\nEND\r\n", "VALUE q 0 5 x\r\n\x04\x01\x00\x00\x00\r\nEND\r\n", "VALUE q 0 5 1\r\n\xff\x01\x00\x00\x00\r\nEND\r\n",
		"VALUE q 0 5 1\r\n\x04\x09\x00\x00\x00\r\nEND\r\n", "VALUE q 0 5 1 1\r\n\x04\x01\x00\x00\x00\r\nEND\r\n",
		strings.Repeat("VALUE q 0 5 1\r\n\x04\x01\x00\x00\x00\r\n", 3) + "END\r\n",
		strings.Repeat("x", 100_000),
	} {
		t.Run(fmt.Sprintf("%.40q", reply), func(t *testing.T) {
			addr := fakeServer(t, func(in *bufio.Reader, out io.Writer) {
				in.ReadString('\n')
				io.WriteString(out, reply)
			})
			c, err := mcq.Dial(addr, &mcq.ClientOptions{Timeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if msgs, err := c.Queue("q").Lease(t.Context(), 2, mcq.LeaseOptions{}); err == nil {
				t.Errorf("lease: %v", bodies(msgs))
			} else if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if err := c.Queue("q").Put(t.Context(), mcq.Message{Body: []byte("x")}); err == nil {
				t.Error("put worked")
			}
		})
	}
}

// A server that answers nothing costs Timeout, not for ever.
func TestSilentServer(t *testing.T) {
	addr := fakeServer(t, func(in *bufio.Reader, _ io.Writer) { io.Copy(io.Discard, in) })
	c, err := mcq.Dial(addr, &mcq.ClientOptions{Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, takeErr := c.Queue("q").Take(t.Context())
	for what, err := range map[string]error{"put": c.Queue("q").Put(t.Context(), mcq.Message{}), "take": takeErr} {
		if !mcq.Retryable(err) || !strings.Contains(err.Error(), "no answer in 50ms") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A message has on the server all that it had here, and here what the server made of it.
func TestRemoteFields(t *testing.T) {
	b := memBroker(t, &mcq.Options{Queues: map[string]mcq.QueueOptions{"full": {MaxLength: 1}}})
	c := dial(t, serve(t, b))
	q, here := c.Queue("q"), queue(t, b, "q")
	ctx := t.Context()
	key := "order 5/7\x00" + strings.Repeat("k", 240)
	var first uint64
	for range 2 {
		once := []mcq.Message{{Body: []byte("once"), Key: key}}
		if err := q.Put(ctx, once...); err != nil || once[0].ID == 0 || first != 0 && first != once[0].ID || time.Since(once[0].Enqueued) > patience {
			t.Fatalf("%+v, %v", once, err)
		}
		first = once[0].ID
	}
	sent := []mcq.Message{
		{Body: []byte("late"), Delay: 90500 * time.Millisecond, Key: "k"},
		{Body: []byte("brief"), TTL: patience + time.Millisecond},
		{Body: []byte("long"), TTL: 40 * 24 * time.Hour, Flags: 3, Dead: &mcq.Dead{Queue: "elsewhere"}},
	}
	if err := q.Put(ctx, sent...); err != nil || sent[0].ID != first+1 || sent[2].ID != first+3 {
		t.Fatalf("%+v, %v", sent, err)
	}
	if st := here.Stats(); st.Duplicates != 1 || st.Delayed != 1 {
		t.Errorf("%+v", st)
	}
	for where, reader := range map[string]interface {
		Peek(ctx context.Context, limit int) ([]mcq.Message, error)
	}{"there": here, "here": q} {
		msgs, err := reader.Peek(ctx, 9)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, where, bodies(msgs), "once", "brief", "long")
		if once, brief, long := msgs[0], msgs[1], msgs[2]; once.Key != key || brief.TTL != sent[1].TTL || long.TTL != sent[2].TTL || long.Flags != 3 || long.Dead != nil || !long.Enqueued.Equal(sent[2].Enqueued) {
			t.Errorf("%s: %+v", where, msgs)
		}
	}
	for _, m := range []mcq.Message{{Key: strings.Repeat("k", 251)}, {Delay: -1}, {TTL: -1}} {
		if err := q.Put(ctx, m); !errors.Is(err, mcq.ErrMessage) {
			t.Errorf("%+v: %v", m, err)
		}
	}
	both := make([]mcq.Message, 2)
	if err := c.Queue("full").Put(ctx, both...); !errors.Is(err, mcq.ErrFull) || both[0].ID != 1 || both[1].ID != 0 {
		t.Errorf("one fits: %+v, %v", both, err)
	}
}

// What operators do with a queue they can do from elsewhere.
func TestRemoteOperations(t *testing.T) {
	b := memBroker(t, &mcq.Options{Queues: map[string]mcq.QueueOptions{"q": {DeadLetters: "dead"}}})
	c := dial(t, serve(t, b))
	q, dead := c.Queue("q"), c.Queue("dead")
	ctx := t.Context()
	if msgs, err := q.Peek(ctx, 1); len(msgs) > 0 || err != nil {
		t.Errorf("peek at none: %v, %v", msgs, err)
	}
	if n, err := q.Purge(ctx); n != 0 || err != nil {
		t.Errorf("purge of none: %d, %v", n, err)
	}
	put(t, q, "1", "2", "3", "4")
	msgs := lease(t, q, 2, mcq.LeaseOptions{})
	const reason = "50% of \"ä/b\"\r\nis wrong"
	if err := q.Reject(ctx, reason, msgs[1].Receipt); err != nil {
		t.Fatal(err)
	}
	if err := q.Reject(ctx, reason, msgs[1].ID); !errors.Is(err, mcq.ErrNotLeased) {
		t.Errorf("rejected again: %v", err)
	}
	if err := q.Reject(ctx, strings.Repeat("%", 2000), msgs[0].ID); err != nil {
		t.Fatal(err)
	}
	there, err := dead.Peek(ctx, 9)
	if err != nil {
		t.Fatal(err)
	}
	for what, msgs := range map[string][]mcq.Message{"peeked at": there, "leased": lease(t, dead, 9, mcq.LeaseOptions{})} {
		expect(t, what, bodies(msgs), "2", "1")
		if d := msgs[0].Dead; d == nil || *d != (mcq.Dead{Queue: "q", ID: 2, Attempts: 1, Reason: reason}) {
			t.Errorf("%s: %+v", what, d)
		}
		if d := msgs[1].Dead; d == nil || d.Reason != strings.Repeat("%", 1000) {
			t.Errorf("%s: %+v", what, d)
		}
	}
	if n, err := q.Purge(ctx); n != 2 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	for _, want := range []bool{true, false} {
		if there, err := c.Drop(ctx, "q"); there != want || err != nil {
			t.Errorf("dropped %v, %v", there, err)
		}
	}
}

// Statistics come as the broker has them, whatever the queues are called.
func TestRemoteStats(t *testing.T) {
	b := memBroker(t, nil)
	c := dial(t, serve(t, b))
	ctx := t.Context()
	if all, err := c.QueueStats(ctx); len(all) > 0 || err != nil {
		t.Errorf("of no queues: %+v, %v", all, err)
	}
	for i, name := range []string{"a", "a_total", "a_total_items", "queue_a", "STAT", "b+s", "reset"} {
		q := queue(t, b, name)
		if name != "b+s" {
			put(t, q, strings.Split(strings.Repeat("x", i+1), "")...)
			lease(t, q, 1, mcq.LeaseOptions{Duration: time.Hour})
		}
	}
	queue(t, b, "a").Pause()
	want := b.Stats().Queues
	got, err := c.QueueStats(ctx)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d of %d queues, %v", len(got), len(want), err)
	}
	same := func(got, want mcq.QueueStats) bool {
		near := got.OldestAge >= want.OldestAge-time.Millisecond && got.OldestAge < want.OldestAge+patience
		got.OldestAge = want.OldestAge
		return near && got == want
	}
	for i := range want {
		one, err := c.Queue(want[i].Name).Stats(ctx)
		if err != nil || !same(got[i], want[i]) || !same(one, want[i]) {
			t.Errorf("%+v, alone %+v, want %+v, %v", got[i], one, want[i], err)
		}
	}
	if s, err := c.Queue("nobody").Stats(ctx); err != nil || s != (mcq.QueueStats{Name: "nobody"}) {
		t.Errorf("of no queue: %+v, %v", s, err)
	}
}

// Whoever enqueues hears of each message once and in order, also when connections fail.
func TestEnqueueOverFailures(t *testing.T) {
	var conns atomic.Int64
	addr := fakeServer(t, func(in *bufio.Reader, out io.Writer) {
		for left := 3 * conns.Add(1); left > 0; left-- {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, "monitor ") {
				io.WriteString(out, "END\r\n")
				continue
			}
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
			io.WriteString(out, "1 1\r\n")
		}
	})
	q, err := dial(t, addr).Backend().FindQueue(t.Context(), "q", true)
	if err != nil {
		t.Fatal(err)
	}
	const n = 300
	told := make(chan mcq.Message, 2*n)
	var failed atomic.Int64
	for i := range n {
		q.Enqueue(mcq.Message{Flags: uint32(i)}, func(m mcq.Message, err error) {
			if err != nil {
				failed.Add(1)
			}
			if err != nil && (!mcq.Retryable(err) || m.ID != 0) || err == nil && m.ID != 1 {
				t.Errorf("message %d: %+v, %v", i, m, err)
			}
			told <- m
		})
	}
	for i := range n {
		select {
		case m := <-told:
			if m.Flags != uint32(i) {
				t.Fatalf("told of %d instead of %d", m.Flags, i)
			}
		case <-time.After(patience):
			t.Fatalf("not told of %d", i)
		}
	}
	if len(told) > 0 || failed.Load() == 0 {
		t.Errorf("%d told twice, %d failed", len(told), failed.Load())
	}
}

// A wait longer than one command may have is several.
func TestLongWait(t *testing.T) {
	b := memBroker(t, nil)
	s, addr := startServer(t, b, nil)
	c := dial(t, addr)
	synced := make(chan []mcq.Message, 1)
	go func() { synced <- lease(t, c.Queue("q"), 1, mcq.LeaseOptions{Wait: time.Hour}) }()
	waitFor(t, "the reader", func() bool { return s.Stats().Gets > 0 })
	put(t, c.Queue("q"), "x")
	expect(t, "waited for", bodies(<-synced), "x")
}

// That the dead letters are full is said to a client as it is to the queue's own reader.
func TestRemoteDeadLettersFull(t *testing.T) {
	b := memBroker(t, &mcq.Options{Logger: silent, Queues: map[string]mcq.QueueOptions{
		"q": {MaxAttempts: 1, DeadLetters: "dead"}, "dead": {MaxLength: 1},
	}})
	q := dial(t, serve(t, b)).Queue("q")
	put(t, q, "1", "2", "3")
	msgs := lease(t, q, 3, mcq.LeaseOptions{})
	if err := q.Reject(t.Context(), "no", ids(msgs[:2])...); !errors.Is(err, mcq.ErrFull) || !strings.Contains(err.Error(), "1 of 2 messages of q") {
		t.Errorf("reject: %v", err)
	}
	if err := q.Nack(t.Context(), msgs[2].ID); !errors.Is(err, mcq.ErrFull) {
		t.Errorf("nack: %v", err)
	}
}
