package mcq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/watchman"
)

// consume runs Consume until stop is called, which returns what Consume returned.
func consume(t *testing.T, src mcq.Source, fn func(context.Context, []mcq.Message) error, o *mcq.ConsumeOptions) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mcq.Consume(ctx, src, fn, o) }()
	return func() error {
		cancel()
		return <-done
	}
}

func TestConsume(t *testing.T) {
	b := memBroker(t, nil)
	client := dial(t, serve(t, b))
	for _, src := range []mcq.Source{queue(t, b, "local"), client.Queue("remote")} {
		t.Run(src.Name(), func(t *testing.T) {
			q := queue(t, b, src.Name())
			if err := q.Put(t.Context(), make([]mcq.Message, 25)...); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			var sizes []int
			var got []uint64
			stop := consume(t, src, func(ctx context.Context, batch []mcq.Message) error {
				mu.Lock()
				defer mu.Unlock()
				sizes = append(sizes, len(batch))
				got = append(got, ids(batch)...)
				if end, ok := ctx.Deadline(); !ok || time.Until(end) > time.Minute {
					t.Errorf("the context ends at %v", end)
				}
				return nil
			}, &mcq.ConsumeOptions{Batch: 10, Lease: time.Minute, Logger: silent})
			waitFor(t, "all acknowledged", func() bool { return q.Stats().Done == 25 })
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(sizes, []int{10, 10, 5}) || !slices.IsSorted(got) || len(got) != 25 {
				t.Errorf("batches of %v: %v", sizes, got)
			}
		})
	}
}

// Consume waits for the batches under way when its ctx ends, and returns why it
// cannot go on when the queue ends.
func TestConsumeDrains(t *testing.T) {
	b := memBroker(t, nil)
	q := queue(t, b, "q")
	put(t, q, "a", "b", "c")
	inside, release := make(chan struct{}, 3), make(chan struct{})
	var done atomic.Int32
	stop := consume(t, q, func(ctx context.Context, batch []mcq.Message) error {
		inside <- struct{}{}
		<-release
		done.Add(int32(len(batch)))
		return ctx.Err()
	}, &mcq.ConsumeOptions{Batch: 1, Concurrency: 2})
	<-inside
	<-inside
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	select {
	case err := <-stopped:
		t.Fatalf("Consume returned %v with batches under way", err)
	case <-inside:
		t.Fatal("three calls at once")
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if s := q.Stats(); s.Done != uint64(done.Load()) || s.Leased != 0 {
		t.Errorf("%d processed, %+v", done.Load(), s)
	}

	ended := make(chan error, 1)
	dropped := queue(t, b, "dropped")
	go func() {
		ended <- mcq.Consume(t.Context(), dropped, func(context.Context, []mcq.Message) error { return nil }, nil)
	}()
	if _, err := b.Drop("dropped"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, mcq.ErrDropped) {
		t.Errorf("Consume of a dropped queue: %v", err)
	}
	client := dial(t, serve(t, b))
	client.Close()
	if err := mcq.Consume(t.Context(), client.Queue("q"), nil, nil); !errors.Is(err, mcq.ErrClosed) {
		t.Errorf("Consume of a closed client: %v", err)
	}
	if err := mcq.Consume(t.Context(), client.Queue("a b"), nil, nil); !errors.Is(err, mcq.ErrName) {
		t.Errorf("Consume of a bad name: %v", err)
	}
}

func TestConsumeOptions(t *testing.T) {
	err := mcq.Consume(t.Context(), nil, nil, &mcq.ConsumeOptions{Batch: -1, Concurrency: -1, Lease: -1})
	for _, part := range []string{"Batch", "Concurrency", "Duration"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v says nothing about %s", err, part)
		}
	}
	if err := mcq.Consume(t.Context(), nil, nil, &mcq.ConsumeOptions{MaxWait: -1}); err == nil || !strings.Contains(err.Error(), "MaxWait") {
		t.Errorf("a negative MaxWait: %v", err)
	}
}

// A batch that has a message waits for more for MaxWait, and not any longer than
// it takes to be full, or than ctx lasts. The function has its whole time then.
func TestConsumeMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memBroker(t, nil)
		defer b.Close()
		q := queue(t, b, "q")
		began := time.Now()
		var log []string
		stop := consume(t, q, func(ctx context.Context, batch []mcq.Message) error {
			until, _ := ctx.Deadline()
			log = append(log, fmt.Sprintf("%d after %v, has %v", len(batch), time.Since(began).Round(time.Second), time.Until(until)))
			began = time.Now()
			return nil
		}, &mcq.ConsumeOptions{Batch: 10, MaxWait: time.Minute, Lease: 40 * time.Second})
		for range 3 { // a full one while it waits
			time.Sleep(5 * time.Second)
			put(t, q, "a", "b", "c", "d")
		}
		time.Sleep(2 * time.Minute) // two are left, and nothing comes
		put(t, q, "e")
		time.Sleep(10 * time.Second)
		if err := stop(); err != nil { // one is under way
			t.Fatal(err)
		}
		want := []string{"10 after 18s, has 40s", "2 after 1m0s, has 40s", "1 after 1m7s, has 40s"}
		if len(log) != 3 || !strings.HasPrefix(log[0], "10 after 1") || log[1] != want[1] || !strings.HasPrefix(log[2], "1 after ") {
			t.Errorf("batches: %q, want about %q", log, want)
		}
		if s := q.Stats(); s.Done != 13 || s.Leased != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// flaky is a source that fails while down is set.
type flaky struct {
	mcq.Source
	down  atomic.Bool
	tries atomic.Int64
}

func (f *flaky) Lease(ctx context.Context, limit int, o mcq.LeaseOptions) ([]mcq.Message, error) {
	if f.down.Load() {
		f.tries.Add(1)
		return nil, errors.New("no such host")
	}
	return f.Source.Lease(ctx, limit, o)
}

// A source that fails is told of, but not each time, and consumed when it works.
func TestConsumeTellsOfItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memBroker(t, nil)
		defer b.Close()
		q := queue(t, b, "q")
		put(t, q, "a")
		w, err := watchman.New("test", nil)
		if err != nil {
			t.Fatal(err)
		}
		src := &flaky{Source: q}
		src.down.Store(true)
		var log safeBuffer
		stop := consume(t, src, func(context.Context, []mcq.Message) error { return nil },
			&mcq.ConsumeOptions{Concurrency: 3, Watchman: w, Logger: log.logger()})
		time.Sleep(10*time.Minute + time.Second)
		if n := strings.Count(log.String(), "cannot be leased"); n < 8 || n > 11 || !strings.Contains(log.String(), "no such host") {
			t.Errorf("in ten minutes the log says %d times that it fails: %s", n, log.String())
		}
		if n := src.tries.Load(); n < 600 || n > 10_000 {
			t.Errorf("%d tries in ten minutes", n)
		}
		failed := 0
		for _, op := range w.Operations() {
			if op.Name == "mcq lease q" {
				failed = int(op.Errors)
			}
		}
		if failed == 0 {
			t.Error("watchman knows of no failed lease")
		}
		src.down.Store(false)
		time.Sleep(10 * time.Second)
		if s := q.Stats(); s.Done != 1 || strings.Count(log.String(), "leased again") != 1 {
			t.Errorf("%+v, the log says %s", s, log.String())
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// The trace of who put a message continues where it is consumed, also when it
// goes over the wire.
func TestConsumeContinuesTheTrace(t *testing.T) {
	w, err := watchman.New("test", &watchman.Options{Sample: 1})
	if err != nil {
		t.Fatal(err)
	}
	b := memBroker(t, &mcq.Options{Watchman: w})
	client, err := mcq.Dial(serve(t, b), &mcq.ClientOptions{Watchman: w})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, src := range []mcq.Source{queue(t, b, "local"), client.Queue("remote")} {
		ctx, span := w.Operation(watchman.Internal, "post").Start(t.Context())
		if err := src.(putter).Put(ctx, mcq.Message{Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		trace := span.SpanContext().TraceID
		span.End(nil)
		got := make(chan watchman.TraceID, 1)
		stop := consume(t, src, func(_ context.Context, batch []mcq.Message) error {
			got <- batch[0].Trace.TraceID
			return nil
		}, &mcq.ConsumeOptions{Watchman: w})
		if id := <-got; id != trace {
			t.Errorf("%s: trace %v, want %v", src.Name(), id, trace)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range w.Trace(trace) {
			names = append(names, s.Name)
		}
		if !slices.Contains(names, "mcq process "+src.Name()) {
			t.Errorf("%s: spans %q", src.Name(), names)
		}
	}
}

// The dial of the queue's rate holds Consume to so many messages a second, and
// lets it go again.
func TestConsumeRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memBroker(t, nil)
		defer b.Close()
		q := queue(t, b, "q")
		w, err := watchman.New("test", nil)
		if err != nil {
			t.Fatal(err)
		}
		put := func(n int) {
			if err := q.Put(t.Context(), make([]mcq.Message, n)...); err != nil {
				t.Fatal(err)
			}
		}
		put(1000)
		var got atomic.Int64
		o := &mcq.ConsumeOptions{Concurrency: 2, Watchman: w}
		stop := consume(t, q, func(_ context.Context, batch []mcq.Message) error {
			got.Add(int64(len(batch)))
			return nil
		}, o)
		time.Sleep(time.Second)
		if n := got.Load(); n != 1000 {
			t.Errorf("without a limit %d of 1000 in a second", n)
		}
		if err := w.Apply(watchman.Change{Name: "mcq.q.rate", Value: 10, By: "test"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // what waited for messages under no limit looks again
		got.Store(0)
		put(5000)
		time.Sleep(time.Minute)
		if n := got.Load(); n < 500 || n > 700 {
			t.Errorf("%d in a minute, want about 600", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
