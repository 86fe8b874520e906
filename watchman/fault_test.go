package watchman_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

func TestErrorsAreGrouped(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1, Release: "v1.2"})
	get, put := w.Operation(watchman.Server, "get"), w.Operation(watchman.Server, "put")
	fail := func(op *watchman.Operation, err error) watchman.TraceID {
		_, s := op.Start(t.Context())
		s.End(err)
		return s.SpanContext().TraceID
	}
	var last watchman.TraceID
	for i := range 20 {
		last = fail(get, fmt.Errorf("read: %w", &fs.PathError{Op: "open", Path: fmt.Sprint("/f", i), Err: fs.ErrNotExist}))
		fail(get, fmt.Errorf("user %d has no key", i))
		fail(put, errors.New("quota"))
	}
	groups := w.Errors()
	if len(groups) != 3 {
		t.Fatalf("%d groups: %+v", len(groups), groups)
	}
	byChain := map[string]watchman.ErrorGroup{}
	for _, g := range groups {
		byChain[g.Chain] = g
		if g.Count != 20 || g.Release != "v1.2" || g.First.After(g.Last) || len(g.Traces) != 5 {
			t.Errorf("group %+v", g)
		}
		if !strings.Contains(g.Frame, "TestErrorsAreGrouped") {
			t.Errorf("frame %q, want this test's", g.Frame)
		}
	}
	path := byChain["*fs.PathError ← file does not exist"]
	if path.Operation != "get" || path.Traces[4] != last || !strings.Contains(path.Text, "/f19") {
		t.Errorf("the path error's group: %+v", path)
	}
	if byChain["user # has no key"].Count != 20 || byChain["quota"].Operation != "put" {
		t.Errorf("groups %+v", byChain)
	}
}

// Every refusal counts in its group; its text is read once a millisecond.
func TestRefusalsAreGrouped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchman(t, "s", nil)
		op := w.Operation(watchman.Server, "op")
		var last watchman.TraceID
		refuse := func(i int) {
			_, s := op.Start(t.Context())
			s.End(fmt.Errorf("more than %d: %w", i, watchman.ErrRejected))
			last = s.SpanContext().TraceID
		}
		for i := range 100 {
			refuse(i)
		}
		g := w.Errors()
		if len(g) != 1 || g[0].Count != 100 || g[0].Chain != "rejected" || g[0].Text != "more than 0: rejected" || g[0].Traces[4] != last {
			t.Errorf("%+v", g)
		}
		time.Sleep(time.Millisecond)
		refuse(100)
		if g := w.Errors(); g[0].Count != 101 || g[0].Text != "more than 100: rejected" || g[0].Traces[4] != last {
			t.Errorf("a millisecond later: %+v", g)
		}
	})
}

// A trace that fails several times is one example of its errors.
func TestErrorGroupsHoldATraceOnce(t *testing.T) {
	w := newWatchman(t, "s", nil)
	try := w.Operation(watchman.Client, "try")
	var want []watchman.TraceID
	for range 2 {
		ctx, root := w.Operation(watchman.Server, "get").Start(t.Context())
		for range 3 {
			_, s := try.Start(ctx)
			s.End(errors.New("busy"))
		}
		root.End(nil)
		want = append(want, root.SpanContext().TraceID)
	}
	if g := w.Errors(); len(g) != 1 || g[0].Count != 6 || !slices.Equal(g[0].Traces, want) {
		t.Errorf("%+v, want traces %v", g, want)
	}
}

type cyclic struct{}

func (c cyclic) Error() string { return "cycle" }
func (c cyclic) Unwrap() error { return c }

type evilUnwrap struct{}

func (evilUnwrap) Error() string { return "evil" }
func (evilUnwrap) Unwrap() error { panic("no") }

func TestErrorGroupsAreBounded(t *testing.T) {
	w := newWatchman(t, "s", nil)
	op := w.Operation(watchman.Server, "op")
	for _, err := range []error{cyclic{}, evilUnwrap{}, &evilError{}, errors.Join(errors.New("a"), errors.New("b")), (*fs.PathError)(nil)} {
		_, s := op.Start(t.Context())
		s.End(err)
	}
	for i := range 5000 {
		_, s := op.Start(t.Context())
		s.End(errors.New("kind " + strings.Repeat("x", i)))
	}
	for i := range 5000 {
		_, s := w.Operation(watchman.Client, fmt.Sprint(i)).Start(t.Context())
		s.End(errors.New("x"))
	}
	if n := len(w.Errors()); n > 1024 {
		t.Errorf("%d groups", n)
	}
}

func TestPanics(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1})
	op := w.Operation(watchman.Server, "op")
	func() {
		_, s := op.Start(t.Context())
		defer func() { s.End(watchman.Recovered(recover())) }()
		explode()
	}()
	g := w.Errors()[0]
	if !g.Panic || !strings.Contains(g.Frame, "explode") || g.Chain != "panic panic: boom #" || len(g.Stack) == 0 {
		t.Errorf("group %+v", g)
	}
	if got := w.Traces(1); len(got) != 1 || got[0].Keep != watchman.KeepError {
		t.Errorf("traces %+v", got)
	}
	if watchman.Recovered(nil) != nil {
		t.Error("no panic is an error")
	}
	if err := watchman.Recovered(fs.ErrClosed); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("%v does not unwrap to its value", err)
	}
}

func explode() { panic("boom 42") }

func TestRejectedCallsAreCountedApart(t *testing.T) {
	w := newWatchman(t, "s", nil)
	op := w.Operation(watchman.Server, "op")
	op.SetTarget(10_000_000)
	for _, err := range []error{nil, errors.New("x"), fmt.Errorf("limit: %w", watchman.ErrRejected)} {
		_, s := op.Start(t.Context())
		s.End(err)
	}
	_, s := op.StartAt(t.Context(), time.Now().Add(-20*time.Millisecond))
	s.End(nil)
	if f := op.Stats(); f.Calls != 4 || f.Errors != 2 || f.Rejected != 1 || f.Bad != 3 {
		t.Errorf("figures = %+v", f)
	}
	op.SetTarget(0)
	op.Observe(context.Background(), 1e12, nil)
	if f := op.Stats(); f.Bad != 3 {
		t.Errorf("a slow call without a target is bad: %+v", f)
	}
}
