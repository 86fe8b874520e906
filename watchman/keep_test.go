package watchman_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// A trace that nobody wanted can be kept as long as it is in the ring, once.
func TestKeepFromTheRing(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1, RecentTraces: 10})
	op, sub := w.Operation(watchman.Server, "op"), w.Operation(watchman.Client, "sub")
	var ids []watchman.TraceID
	for range 15 {
		ctx, root := op.Start(t.Context())
		_, c := sub.Start(ctx)
		c.End(nil)
		root.End(nil)
		ids = append(ids, root.SpanContext().TraceID)
	}
	if s := w.Stats(); s.Begun != 30 || s.Ring != 20 || s.Dropped != 10 || s.Kept != 0 {
		t.Errorf("stats = %+v", s)
	}
	if n, err := w.KeepTrace(ids[14], "wanted"); n != 2 || err != nil {
		t.Errorf("keeping the newest: %d, %v", n, err)
	}
	got := w.Trace(ids[14])
	if len(got) != 2 || got[0].Name != "op" || got[0].Keep != "wanted" || got[1].Name != "sub" {
		t.Errorf("kept %+v", got)
	}
	if n, err := w.KeepTrace(ids[14], "again"); n != 2 || err != nil {
		t.Errorf("keeping it again: %d, %v", n, err)
	}
	if _, err := w.KeepTrace(ids[0], "too late"); !errors.Is(err, watchman.ErrNoTrace) {
		t.Errorf("keeping one that is gone: %v", err)
	}
	if s := w.Stats(); s.Ring != 18 || s.Kept != 2 || s.Dropped != 10 || s.Live != 0 {
		t.Errorf("stats = %+v", s)
	}
}

func TestLateSpanJoinsItsTraceInTheRing(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1})
	ctx, root := w.Operation(watchman.Server, "op").Start(t.Context())
	_, late := w.Operation(watchman.Client, "late").Start(watchman.Detach(ctx))
	root.End(nil)
	late.SetAttr("k", "v")
	late.End(errors.New("x"))
	if s := w.Stats(); s.Late != 1 || s.Ring != 2 || s.Live != 0 {
		t.Errorf("stats = %+v", s)
	}
	late.Keep("after the fact")
	got := w.Trace(root.SpanContext().TraceID)
	if len(got) != 2 || got[0].Name != "op" || got[0].Keep != "after the fact" || got[1].Error != "x" {
		t.Errorf("kept %+v", got)
	}
}

// A ring of many traces is filled in chunks; what is in it can be kept wherever it
// is, whole, and what it pushes out is counted.
func TestRingOfManyTraces(t *testing.T) {
	const traces = 300
	w := newWatchman(t, "s", &watchman.Options{Sample: -1, RecentTraces: traces, KeepTraces: 4 * traces})
	op, sub := w.Operation(watchman.Server, "op"), w.Operation(watchman.Client, "sub")
	var ids []watchman.TraceID
	begun := uint64(0)
	for i := range 5 * traces {
		ctx, root := op.Start(t.Context())
		for range i % 70 { // more than are kept
			_, c := sub.Start(ctx)
			if i%3 == 0 {
				c.SetAttr("trace", fmt.Sprint(i))
			}
			c.End(nil)
		}
		root.End(nil)
		ids = append(ids, root.SpanContext().TraceID)
		begun += uint64(1 + i%70)
	}
	s := w.Stats()
	if s.Begun != begun || s.Ring+s.Dropped != begun || s.Ring > 2*traces*66 {
		t.Errorf("%d spans: %+v", begun, s)
	}
	found := uint64(0)
	for i, id := range ids[4*traces+4:] { // the oldest chunk may have gone
		i += 4*traces + 4
		n, err := w.KeepTrace(id, "wanted")
		if want := 1 + min(i%70, 64); n != want || err != nil {
			t.Fatalf("keeping trace %d: %d spans, want %d, %v", i, n, want, err)
		}
		found += uint64(n)
		got := w.Trace(id)
		if got[0].Name != "op" || got[0].Parent.IsValid() {
			t.Errorf("trace %d begins with %+v", i, got[0])
		}
		for _, r := range got[1:] {
			if r.Name != "sub" || r.Parent != got[0].SpanID || i%3 == 0 && (len(r.Attrs) != 1 || r.Attrs[0].Value != fmt.Sprint(i)) || i%3 != 0 && r.Attrs != nil {
				t.Fatalf("trace %d has %+v", i, r)
			}
		}
	}
	if after := w.Stats(); after.Ring != s.Ring-found || after.Kept != found || after.Live != 0 {
		t.Errorf("%d spans kept: %+v, before %+v", found, after, s)
	}
}

// A span that ends after its trace was taken from the ring goes after it.
func TestLateSpanFollowsItsTraceOutOfTheRing(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1})
	ctx, root := w.Operation(watchman.Server, "op").Start(t.Context())
	_, late := w.Operation(watchman.Client, "late").Start(watchman.Detach(ctx))
	root.End(nil)
	root.Keep("after the fact")
	late.End(nil)
	if got := w.Trace(root.SpanContext().TraceID); len(got) != 2 || got[1].Name != "late" {
		t.Errorf("kept %+v", got)
	}
	if s := w.Stats(); s.Late != 1 || s.Ring != 0 || s.Kept != 2 || s.Traces != 1 {
		t.Errorf("stats = %+v", s)
	}
}

func TestKeepingAt(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1, Slow: time.Minute})
	_, s := w.Operation(watchman.Server, "op").Start(t.Context())
	if now := time.Now(); s.KeepingAt(now, nil) || s.KeepingAt(time.Time{}, nil) || !s.KeepingAt(now.Add(time.Hour), nil) || !s.KeepingAt(now, errors.New("x")) {
		t.Error("KeepingAt is wrong about the time or the error")
	}
	s.End(nil)
}

// The far end fails, sets the keep bit, and every hop keeps its part, though
// the far end's caller hides the failure.
func TestKeepBit(t *testing.T) {
	web := newWatchman(t, "web", &watchman.Options{Sample: -1})
	store := newWatchman(t, "store", &watchman.Options{Sample: -1})
	ctx, page := web.Operation(watchman.Server, "page").Start(t.Context())
	_, call := web.Operation(watchman.Client, "call").Start(ctx)

	_, get := store.Operation(watchman.Server, "get").StartRemote(t.Context(), call.SpanContext())
	if get.Keeping(nil) {
		t.Error("keeping a good trace")
	}
	failure := errors.New("disk")
	bit := get.Keeping(failure)
	get.End(failure)

	if bit {
		call.Keep(watchman.KeepRemote)
	}
	call.End(nil)
	if !page.Keeping(nil) {
		t.Error("the page does not pass the bit on")
	}
	page.End(nil)
	id := page.SpanContext().TraceID
	if got := store.Trace(id); len(got) != 1 || got[0].Keep != watchman.KeepError {
		t.Errorf("the store kept %+v", got)
	}
	if got := web.Trace(id); len(got) != 2 || got[0].Keep != watchman.KeepRemote {
		t.Errorf("the web kept %+v", got)
	}
}

func TestLaneAndDebug(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1})
	op := w.Operation(watchman.Server, "op")
	for i, tc := range []struct{ baggage, lane, keep string }{
		{"", "", ""},
		{"heddle.lane=canary", "canary", watchman.KeepLane},
		{"user=1,heddle.debug=1", "", watchman.KeepDebug},
		{"heddle.debug=0,heddle.lane=%01", "", ""},
		{"heddle.lane=", "", ""},
	} {
		ctx, root := op.StartRemote(t.Context(), watchman.FromFields(fmt.Sprintf("00-%032x-%s-00", i+1, goodSpan), "", tc.baggage))
		_, child := w.Operation(watchman.Client, "sub").Start(ctx)
		if child.Lane() != tc.lane || child.Debug() != (tc.keep == watchman.KeepDebug) {
			t.Errorf("%s: lane %q, debug %v", tc.baggage, child.Lane(), child.Debug())
		}
		if out := child.SpanContext().Baggage; out != tc.baggage {
			t.Errorf("%s goes on as %s", tc.baggage, out)
		}
		child.End(nil)
		root.End(nil)
		list := w.Traces(1)
		if tc.keep != "" && (len(list) == 0 || list[0].Keep != tc.keep) {
			t.Errorf("%s: %+v", tc.baggage, list)
		}
	}
	st := op.Stats()
	if len(st.Lanes) != 1 || st.Lanes[0].Lane != "canary" || st.Lanes[0].Calls != 1 || st.Calls != 5 {
		t.Errorf("figures = %+v", st)
	}
	if d := op.LaneDistribution("canary"); d.Calls() != 1 {
		t.Errorf("the lane has %d calls", d.Calls())
	}
}

func TestLanesAreBounded(t *testing.T) {
	w := newWatchman(t, "s", nil)
	op := w.Operation(watchman.Server, "op")
	for i := range 100 {
		_, s := op.StartRemote(t.Context(), watchman.SpanContext{Baggage: fmt.Sprint("heddle.lane=l", i)})
		s.End(nil)
	}
	st := op.Stats()
	if len(st.Lanes) != 17 || st.Lanes[0].Lane != "(other)" || st.Lanes[0].Calls != 84 {
		t.Errorf("lanes = %+v", st.Lanes)
	}
	for i := range 1000 {
		_, s := op.StartRemote(t.Context(), watchman.FromFields(good, fmt.Sprint("heddle=c", i), ""))
		s.End(nil)
	}
	if st = op.Stats(); len(st.Callers) != 257 || st.Callers[0].Service != "(other)" {
		t.Errorf("%d callers, the first %+v", len(st.Callers), st.Callers[0])
	}
}

func TestPhasesAndLinks(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 1})
	op := w.Operation(watchman.Consumer, "batch")
	parents := []watchman.SpanContext{watchman.FromFields(good, "", "heddle.lane=blue"), {}}
	_, span := op.StartLinked(t.Context(), parents...)
	if span.SpanContext().TraceID == parents[0].TraceID || span.Lane() != "blue" {
		t.Errorf("linked: %+v, lane %q", span.SpanContext(), span.Lane())
	}
	for i := range 20 {
		span.Phase(fmt.Sprint("phase", i))
		span.SetAttr(fmt.Sprint("k", i), "v")
	}
	span.End(nil)
	got := w.Trace(span.SpanContext().TraceID)[0]
	if len(got.Links) != 1 || got.Links[0].SpanID != parents[0].SpanID {
		t.Errorf("links = %+v", got.Links)
	}
	if len(got.Phases) != 16 || len(got.Attrs) != 16 {
		t.Fatalf("%d phases and %d facts, want 16", len(got.Phases), len(got.Attrs))
	}
	end := got.Phases[0].Offset
	for _, p := range got.Phases {
		if p.Offset != end || p.Duration < 0 {
			t.Errorf("phase %+v does not follow on %v", p, end)
		}
		end = p.Offset + p.Duration
	}
	if end != got.Duration {
		t.Errorf("phases end at %v of %v", end, got.Duration)
	}
}

func TestGoOutlivesTheRequest(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 1})
	ctx, cancel := context.WithCancel(t.Context())
	inner, root := w.Operation(watchman.Server, "op").Start(ctx)
	done := make(chan error)
	watchman.Go(inner, func(ctx context.Context) {
		cancel()
		_, s := w.Operation(watchman.Internal, "after").Start(ctx)
		s.End(nil)
		done <- ctx.Err()
	})
	if err := <-done; err != nil {
		t.Errorf("the detached context ended: %v", err)
	}
	root.End(nil)
	if got := w.Trace(root.SpanContext().TraceID); len(got) != 2 || got[1].Parent != got[0].SpanID {
		t.Errorf("kept %+v", got)
	}
}

// Whatever happens at the same time, every span ends up in one place.
func TestAccountingIsExact(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 0.2, KeepTraces: 20, RecentTraces: 16})
	op, sub := w.Operation(watchman.Server, "op"), w.Operation(watchman.Client, "sub")
	var wg sync.WaitGroup
	var spans [8]uint64
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				ctx, root := op.Start(context.Background())
				id := root.SpanContext().TraceID
				_, early := sub.Start(ctx)
				_, late := sub.Start(ctx)
				early.End(nil)
				var err error
				if i%7 == 0 {
					err = errors.New("x")
				}
				root.End(err)
				switch i % 5 {
				case 0:
					root.Keep("forced")
				case 1:
					w.KeepTrace(id, "wanted")
				}
				late.End(nil)
				spans[g] += 3
				if s := w.Stats(); s.Live > 1<<20 || s.Ring > 16*66 {
					t.Errorf("in between: %+v", s)
					return
				}
			}
		})
	}
	wg.Wait()
	var total uint64
	for _, n := range spans {
		total += n
	}
	if s := w.Stats(); s.Begun != total || s.Kept+s.Ring+s.Dropped != total || s.Live != 0 {
		t.Errorf("of %d spans: %+v", total, s)
	}
}

func TestExemplars(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 1})
	op := w.Operation(watchman.Server, "op")
	_, s := op.StartAt(t.Context(), time.Now().Add(-50*time.Millisecond))
	s.End(nil)
	_, s2 := op.StartAt(t.Context(), time.Now().Add(-time.Second))
	s2.End(nil)
	list := op.Exemplars()
	if len(list) != 2 || list[0].TraceID != s.SpanContext().TraceID || list[1].Duration < time.Second {
		t.Errorf("exemplars = %+v", list)
	}
}

func TestKeptSince(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 1, KeepTraces: 10})
	op, sub := w.Operation(watchman.Server, "op"), w.Operation(watchman.Client, "sub")
	begin := func(n int) (late []*watchman.Span) {
		for range n {
			ctx, root := op.Start(t.Context())
			_, c := sub.Start(ctx)
			root.End(nil)
			late = append(late, c)
		}
		return late
	}
	late := begin(5)
	spans, next, missed := w.KeptSince(0, 100)
	if len(spans) != 5 || next != 5 || missed != 0 {
		t.Errorf("five traces: %d spans, next %d, missed %d", len(spans), next, missed)
	}
	for _, c := range late {
		c.End(nil)
	}
	if spans, next, missed = w.KeptSince(next, 3); len(spans) != 3 || next != 8 || missed != 0 || spans[0].Name != "sub" {
		t.Errorf("late spans: %d, next %d, missed %d", len(spans), next, missed)
	}
	begin(80)
	spans, next, missed = w.KeptSince(next, 1000)
	if len(spans) != 40 || missed != 42 || next != 90 {
		t.Errorf("after a flood: %d spans, next %d, missed %d", len(spans), next, missed)
	}
	begin(10000)
	if spans, next, missed = w.KeptSince(next, 1000); len(spans) != 40 || missed != 9960 || next != 10090 {
		t.Errorf("after a deluge: %d spans, next %d, missed %d", len(spans), next, missed)
	}
	if spans, again, missed := w.KeptSince(next, 1000); spans != nil || again != next || missed != 0 {
		t.Errorf("nothing new: %d spans, next %d, missed %d", len(spans), again, missed)
	}
}

// A trace that comes to a process several times is one trace in the lists.
func TestSeveralLocalRootsAreOneTrace(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1, KeepTraces: 10})
	op := w.Operation(watchman.Server, "op")
	parent := watchman.FromFields(good, "", "")
	for i := range 3 {
		_, s := op.StartRemote(t.Context(), parent)
		var err error
		if i == 2 {
			err = errors.New("x")
		}
		s.End(err)
	}
	list := w.Traces(10)
	if len(list) != 1 || list[0].Spans != 3 || list[0].Errors != 1 || list[0].Keep != watchman.KeepSampled {
		t.Errorf("Traces = %+v", list)
	}
	got := w.Trace(parent.TraceID)
	if len(got) != 3 || got[2].Error != "x" || got[0].Error != "" {
		t.Errorf("Trace = %+v", got)
	}
}
