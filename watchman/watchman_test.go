package watchman_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

func newWatchman(t testing.TB, service string, opts *watchman.Options) *watchman.Watchman {
	t.Helper()
	w, err := watchman.New(service, opts)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestNewRejects(t *testing.T) {
	for _, tc := range []struct {
		service string
		opts    *watchman.Options
		want    string
	}{
		{"", nil, "service name"},
		{"a,b", nil, "service name"},
		{"a=b", nil, "service name"},
		{"käse", nil, "service name"},
		{"s", &watchman.Options{Sample: 1.5}, "Sample"},
		{"s", &watchman.Options{KeepBytes: -1}, "KeepBytes"},
	} {
		if _, err := watchman.New(tc.service, tc.opts); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("New(%q, %+v): %v, want an error about %s", tc.service, tc.opts, err, tc.want)
		}
	}
	_, err := watchman.New("", &watchman.Options{Sample: 2, KeepBytes: -1})
	for _, want := range []string{"service name", "Sample", "KeepBytes"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("all at once: %v, want %s too", err, want)
		}
	}
}

func TestNilCostsNothingAndDoesNothing(t *testing.T) {
	var w *watchman.Watchman
	op := w.Operation(watchman.Server, "x")
	ctx := t.Context()
	if got, span := op.Start(ctx); got != ctx || span != nil {
		t.Errorf("Start of a nil operation = %v, %v", got, span)
	}
	if got, span := op.StartAt(ctx, time.Now()); got != ctx || span != nil {
		t.Errorf("StartAt of a nil operation = %v, %v", got, span)
	}
	if got, span := op.StartRemoteAt(ctx, watchman.SpanContext{}, time.Now()); got != ctx || span != nil {
		t.Errorf("StartRemoteAt of a nil operation = %v, %v", got, span)
	}
	allocs := testing.AllocsPerRun(100, func() {
		c, span := op.StartRemote(ctx, watchman.SpanContext{})
		span.SetAttr("a", "b")
		_ = span.SpanContext()
		_ = watchman.FromContext(c)
		op.Observe(c, 1, nil)
		span.End(nil)
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
	if w.Switch("s", true).On() || w.Operations() != nil || w.Trace(watchman.TraceID{1}) != nil || w.Stats() != (watchman.Stats{}) {
		t.Error("a nil Watchman has something to say")
	}
}

func TestChildSpans(t *testing.T) {
	w := newWatchman(t, "shop", &watchman.Options{Sample: 1})
	ctx, root := w.Operation(watchman.Server, "GET /cart").Start(t.Context())
	inner, child := w.Operation(watchman.Client, "db").Start(context.WithValue(ctx, testKey{}, 1))
	child.SetAttr("rows", "3")
	if watchman.FromContext(inner) != child || watchman.FromContext(ctx) != root {
		t.Error("FromContext does not find the span of its context")
	}
	child.End(errors.New("no such table"))
	child.End(nil) // ignored
	root.End(nil)
	spans := w.Trace(root.SpanContext().TraceID)
	if len(spans) != 2 {
		t.Fatalf("kept %d spans, want 2: %+v", len(spans), spans)
	}
	r, c := spans[0], spans[1]
	if r.Name != "GET /cart" || r.Parent.IsValid() || r.Keep != watchman.KeepSampled || r.Error != "" || r.Service != "shop" {
		t.Errorf("root = %+v", r)
	}
	if c.Name != "db" || c.Parent != r.SpanID || c.Error != "no such table" || len(c.Attrs) != 1 {
		t.Errorf("child = %+v", c)
	}
	ops := w.Operations()
	if len(ops) != 2 {
		t.Fatalf("%d operations, want 2", len(ops))
	}
	for _, op := range ops {
		switch op.Name {
		case "db":
			if op.Calls != 1 || op.Errors != 1 || len(op.Callers) != 1 || op.Callers[0].Name != "GET /cart" || op.Callers[0].Errors != 1 {
				t.Errorf("db = %+v", op)
			}
		case "GET /cart":
			if op.Calls != 1 || op.Errors != 0 || len(op.Callers) != 0 {
				t.Errorf("root = %+v", op)
			}
		}
	}
}

type testKey struct{}

// A span given the time it began at is as long as the work was.
func TestStartAt(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 1})
	op := w.Operation(watchman.Server, "op")
	remote := watchman.FromFields(good, "", "")
	for _, tc := range []struct {
		name  string
		began time.Time
		ago   time.Duration
	}{
		{"monotonic", time.Now().Add(-time.Hour), time.Hour},
		{"wall", time.Now().Add(-time.Hour).Round(0), time.Hour},
		{"zero", time.Time{}, 0},
		{"in the future", time.Now().Add(time.Minute), -time.Minute}, // somebody has set the clock
	} {
		for _, start := range []func() (context.Context, *watchman.Span){
			func() (context.Context, *watchman.Span) { return op.StartAt(t.Context(), tc.began) },
			func() (context.Context, *watchman.Span) { return op.StartRemoteAt(t.Context(), remote, tc.began) },
		} {
			before := op.Stats().Calls
			ctx, s := start()
			if watchman.FromContext(ctx) != s {
				t.Errorf("%s: the context is not the span's", tc.name)
			}
			s.End(nil)
			kept := w.Trace(s.SpanContext().TraceID)
			r := kept[len(kept)-1]
			if r.Duration < max(tc.ago, 0) || r.Duration > tc.ago+time.Minute || time.Since(r.Start) < tc.ago {
				t.Errorf("%s: began at %v, took %v", tc.name, r.Start, r.Duration)
			}
			if st := op.Stats(); st.Calls != before+1 || st.Mean < 0 || st.Mean > time.Hour+time.Minute {
				t.Errorf("%s: %+v after %d calls", tc.name, st, before)
			}
			if list := w.Traces(1); len(list) != 1 || list[0].Duration < 0 {
				t.Errorf("%s: %+v", tc.name, list)
			}
		}
	}
}

// Ids are unique, and the random part of a trace's is spread evenly.
func TestIDs(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1})
	op := w.Operation(watchman.Server, "op")
	const n = 100_000
	traces, halves, spans := map[watchman.TraceID]bool{}, map[[8]byte]bool{}, map[watchman.SpanID]bool{}
	var ones [64]int
	for range n {
		_, s := op.Start(t.Context())
		sc := s.SpanContext()
		s.End(nil)
		half := [8]byte(sc.TraceID[8:])
		traces[sc.TraceID], halves[half], spans[sc.SpanID] = true, true, true
		for bit := range ones {
			ones[bit] += int(half[bit/8] >> (bit % 8) & 1)
		}
		if half == [8]byte(sc.SpanID[:]) {
			t.Fatalf("trace %s shows its root's id", sc.TraceID)
		}
	}
	if len(traces) != n || len(halves) != n || len(spans) != n {
		t.Errorf("of %d, %d traces, %d last halves and %d spans have ids of their own", n, len(traces), len(halves), len(spans))
	}
	for bit, c := range ones {
		if math.Abs(float64(c)-n/2) > 7*158 { // seven standard deviations
			t.Errorf("bit %d is set in %d of %d", bit, c, n)
		}
	}
}

func TestRemoteParentContinuesTheTrace(t *testing.T) {
	a := newWatchman(t, "web", &watchman.Options{Sample: 1})
	b := newWatchman(t, "store", nil)
	_, client := a.Operation(watchman.Client, "call").Start(t.Context())
	header := map[string][]string{}
	client.SpanContext().ToHeader(header)
	_, server := b.Operation(watchman.Server, "call").StartRemote(t.Context(), watchman.FromHeader(header))
	server.End(nil)
	client.End(nil)
	got := b.Trace(client.SpanContext().TraceID)
	if len(got) != 1 || got[0].Parent != client.SpanContext().SpanID {
		t.Fatalf("the other side kept %+v", got)
	}
	if ops := b.Operations(); len(ops) != 1 || len(ops[0].Callers) != 1 || ops[0].Callers[0].Service != "web" {
		t.Errorf("callers = %+v, want web", ops)
	}
}

// Errors and slow traces are kept though nothing is sampled, the rest is not,
// and every span is accounted for.
func TestTailDecision(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1, Slow: 20 * time.Millisecond})
	op, sub := w.Operation(watchman.Server, "op"), w.Operation(watchman.Client, "sub")
	run := func(subErr error, d time.Duration) watchman.TraceID {
		ctx, root := op.Start(t.Context())
		_, c := sub.Start(ctx)
		time.Sleep(d)
		c.End(subErr)
		root.End(nil)
		return root.SpanContext().TraceID
	}
	if got := w.Trace(run(nil, 0)); got != nil {
		t.Errorf("an uneventful trace was kept: %+v", got)
	}
	if got := w.Trace(run(errors.New("x"), 0)); len(got) != 2 || got[0].Keep != watchman.KeepError {
		t.Errorf("a trace with a failed child: %+v", got)
	}
	if got := w.Trace(run(nil, 30*time.Millisecond)); len(got) != 2 || got[0].Keep != watchman.KeepSlow {
		t.Errorf("a slow trace: %+v", got)
	}
	s := w.Stats()
	if s.Begun != 6 || s.Kept != 4 || s.Ring != 2 || s.Dropped != 0 || s.Live != 0 || s.Traces != 2 {
		t.Errorf("stats = %+v", s)
	}
	if list := w.Traces(10); len(list) != 2 || list[0].Keep != watchman.KeepSlow || list[1].Errors != 1 {
		t.Errorf("Traces = %+v", list)
	}
}

func TestStormOfErrorsIsBounded(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1})
	op := w.Operation(watchman.Server, "op")
	for range 5000 {
		_, span := op.Start(t.Context())
		span.End(errors.New("x"))
	}
	if s := w.Stats(); s.Kept > 200 || s.Kept < 50 || s.Kept+s.Ring+s.Dropped != 5000 || s.OverBudget != 5000-s.Kept {
		t.Errorf("of 5000 failed spans: %+v", s)
	}
	if f := w.Operations()[0]; f.Errors != 5000 || f.Calls != 5000 {
		t.Errorf("figures = %+v, want all 5000", f)
	}
}

func TestStoreIsBounded(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 1, KeepTraces: 10})
	op := w.Operation(watchman.Server, "op")
	var last watchman.TraceID
	for range 5000 {
		_, span := op.Start(t.Context())
		span.End(nil)
		last = span.SpanContext().TraceID
	}
	s := w.Stats()
	if s.Traces != 40 || s.Evicted != 4960 || w.Trace(last) == nil {
		t.Errorf("stats = %+v", s)
	}
	small := newWatchman(t, "s", &watchman.Options{Sample: 1, KeepBytes: 10_000})
	for range 1000 {
		_, span := small.Operation(watchman.Server, "op").Start(t.Context())
		span.SetAttr("big", strings.Repeat("x", 1000))
		span.End(nil)
	}
	if s := small.Stats(); s.Bytes > 10_000 || s.Traces == 0 {
		t.Errorf("stats = %+v, want at most 10000 bytes", s)
	}
}

func TestManyChildrenOverflowIsCounted(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 1})
	ctx, root := w.Operation(watchman.Server, "op").Start(t.Context())
	for range 100 {
		_, c := w.Operation(watchman.Client, "sub").Start(ctx)
		c.End(nil)
	}
	root.End(nil)
	if s := w.Stats(); s.Begun != 101 || s.Kept != 65 || s.Dropped != 36 {
		t.Errorf("stats = %+v, want 65 kept and 36 dropped", s)
	}
}

func TestLateChild(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 1})
	op := w.Operation(watchman.Server, "op")
	ctx, root := op.Start(t.Context())
	_, late := w.Operation(watchman.Client, "late").Start(ctx)
	root.End(nil)
	_, other := op.Start(t.Context()) // takes the buffer that root gave back
	late.End(nil)
	other.End(nil)
	if got := w.Trace(root.SpanContext().TraceID); len(got) != 2 {
		t.Errorf("the late child is not with its trace: %+v", got)
	}
	if got := w.Trace(other.SpanContext().TraceID); len(got) != 1 {
		t.Errorf("the late child is with another trace: %+v", got)
	}
	if s := w.Stats(); s.Late != 1 || s.Live != 0 {
		t.Errorf("stats = %+v", s)
	}
}

func TestConcurrentUse(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 0.5, KeepTraces: 50})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				op := w.Operation(watchman.Server, fmt.Sprint("op", i%7))
				ctx, root := op.Start(context.Background())
				var inner sync.WaitGroup
				for range 3 {
					inner.Go(func() {
						_, c := w.Operation(watchman.Client, fmt.Sprint("sub", g)).Start(ctx)
						c.End(nil)
					})
				}
				root.End(nil) // some children are late
				inner.Wait()
				w.Traces(5)
				w.Operations()
			}
		})
	}
	wg.Wait()
	s := w.Stats()
	if s.Begun != 8*200*4 || s.Kept+s.Ring+s.Dropped != s.Begun || s.Live != 0 {
		t.Errorf("stats = %+v: begun must be kept + ring + dropped", s)
	}
}

func TestOperationsAreBounded(t *testing.T) {
	w := newWatchman(t, "s", nil)
	for i := range 6000 {
		w.Operation(watchman.Server, fmt.Sprint(i)).Observe(t.Context(), time.Millisecond, nil)
	}
	ops := w.Operations()
	if len(ops) > 4097 || ops[0].Name != "(other)" || ops[0].Calls < 1000 {
		t.Errorf("%d operations, the first %+v", len(ops), ops[0])
	}
}

func TestFigures(t *testing.T) {
	w := newWatchman(t, "s", nil)
	op := w.Operation(watchman.Internal, "op")
	for i := range 1000 {
		op.Observe(t.Context(), time.Duration(i+1)*time.Millisecond, nil)
	}
	f := w.Operations()[0]
	within := func(name string, got, want time.Duration) {
		if got < want || got > want+want/8 {
			t.Errorf("%s = %v, want %v to 12.5 %% above", name, got, want)
		}
	}
	within("p50", f.P50, 500*time.Millisecond)
	within("p90", f.P90, 900*time.Millisecond)
	within("p99", f.P99, 990*time.Millisecond)
	if f.Mean != 500500*time.Microsecond {
		t.Errorf("mean = %v", f.Mean)
	}
}

type evilError struct{}

func (*evilError) Error() string { panic("no") }

func TestErrorThatPanics(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 1})
	_, span := w.Operation(watchman.Server, "op").Start(t.Context())
	span.End(&evilError{})
	if got := w.Trace(span.SpanContext().TraceID); len(got) != 1 || !strings.Contains(got[0].Error, "panicked") {
		t.Errorf("kept %+v", got)
	}
}

func TestSwitches(t *testing.T) {
	w := newWatchman(t, "s", nil)
	sw := w.Switch("feed.post", false)
	var heard []bool
	w.OnChange(sw, func(on bool) { heard = append(heard, on) })
	if sw.On() || w.Switch("feed.post", true) != sw {
		t.Error("a new switch is on, or there are two of one name")
	}
	for _, on := range []bool{true, true, false} {
		if err := w.SetSwitch("feed.post", on, "ops", "drill"); err != nil || sw.On() != on {
			t.Errorf("SetSwitch(%v): %v, now %v", on, err, sw.On())
		}
	}
	if len(heard) != 2 || !heard[0] || heard[1] {
		t.Errorf("the listener heard %v", heard)
	}
	if err := w.SetSwitch("nobody", true, "", ""); !errors.Is(err, watchman.ErrNoSwitch) {
		t.Errorf("an unknown switch: %v", err)
	}
	if list := w.Switches(); len(list) != 1 || list[0].By != "ops" || list[0].Reason != "drill" || list[0].On {
		t.Errorf("Switches = %+v", list)
	}
}

func TestRecordSurvivesJSON(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 1})
	ctx, root := w.Operation(watchman.Server, "op").Start(t.Context())
	_, c := w.Operation(watchman.Consumer, "sub").Start(ctx)
	c.SetAttr("k", "v")
	c.End(errors.New("x"))
	root.End(nil)
	want := w.Trace(root.SpanContext().TraceID)
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got []watchman.SpanRecord
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	for i := range want {
		if !got[i].Start.Equal(want[i].Start) {
			t.Errorf("start %v became %v", want[i].Start, got[i].Start)
		}
		got[i].Start = want[i].Start
		if fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
			t.Errorf("%+v became %+v", want[i], got[i])
		}
	}
	for _, bad := range []string{`[{"trace_id":"xyz"}]`, `[{"span_id":"1"}]`, `[{"kind":"alien"}]`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestWriteTree(t *testing.T) {
	at := time.Unix(1388505600, 0)
	span := func(id, parent byte, service, name string, offset time.Duration) watchman.SpanRecord {
		r := watchman.SpanRecord{SpanID: watchman.SpanID{id}, Service: service, Name: name, Start: at.Add(offset), Duration: time.Millisecond}
		if parent > 0 {
			r.Parent = watchman.SpanID{parent}
		}
		return r
	}
	spans := []watchman.SpanRecord{
		span(3, 2, "store", "put", 2*time.Millisecond),
		span(1, 0, "web", "POST", 0),
		span(2, 1, "web", "call", time.Millisecond),
		span(4, 1, "web", "log\x1b[31m", 3*time.Millisecond),
		span(2, 1, "web", "call", time.Millisecond), // twice
		span(9, 8, "lost", "child", 4*time.Millisecond),
		span(6, 7, "ring", "a", 5*time.Millisecond), // a cycle
		span(7, 6, "ring", "b", 6*time.Millisecond),
	}
	spans[0].Error = "disk full"
	var b strings.Builder
	if err := watchman.WriteTree(&b, spans); err != nil {
		t.Fatal(err)
	}
	want := `      +0µs     1.00ms  web internal POST
   +1.00ms     1.00ms  ├─ web internal call
   +2.00ms     1.00ms  │  └─ store internal put error="disk full"
   +3.00ms     1.00ms  └─ web internal log?[31m
   +4.00ms     1.00ms  lost internal child (parent 0800000000000000 missing)
   +5.00ms     1.00ms  ring internal a
   +6.00ms     1.00ms  └─ ring internal b
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestWriteTreeOfAnEndlessChain(t *testing.T) {
	var spans []watchman.SpanRecord
	for i := range 5000 {
		r := watchman.SpanRecord{Service: "s", Name: "n", SpanID: watchman.SpanID{byte(i >> 8), byte(i), 1}}
		if i > 0 {
			r.Parent = watchman.SpanID{byte((i - 1) >> 8), byte(i - 1), 1}
		}
		spans = append(spans, r)
	}
	var b strings.Builder
	if err := watchman.WriteTree(&b, spans); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n != 5000 || b.Len() > 20<<20 {
		t.Errorf("%d lines in %d bytes, want each span once", n, b.Len())
	}
}
