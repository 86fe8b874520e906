package motan_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/control"
)

func newWatchman(t testing.TB, name string, opts *watchman.Options) *watchman.Watchman {
	t.Helper()
	w, err := watchman.New(name, opts)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func figures(w *watchman.Watchman, kind watchman.Kind, name string) watchman.Figures {
	return w.Operation(kind, name).Stats().Figures
}

// A dial of watchman bounds the calls in flight; what it sheds counts as rejected
// on both sides, and as nothing that went wrong with the calls let in.
func TestInFlightDial(t *testing.T) {
	w, cw := newWatchman(t, "server", nil), newWatchman(t, "client", nil)
	release := make(chan struct{})
	srv := newServer(t, &motan.ServerOptions{Watchman: w})
	motan.Handle(srv, "s", "m", func(context.Context, *string) (*string, error) {
		<-release
		return nil, nil
	})
	addr := startServer(t, srv)
	c := newClient(t, "s", motan.Static(addr), &motan.ClientOptions{Timeout: patience, Retries: -1, Watchman: cw})
	if err := w.Apply(watchman.Change{Name: motan.InFlightDial, Value: 3, By: "test"}); err != nil {
		t.Fatal(err)
	}
	var fs []*motan.Future[string]
	for range 3 {
		fs = append(fs, motan.Go[string](t.Context(), c, "m", ""))
	}
	eventually(t, "three are in flight", func() bool { return srv.Stats().InFlight == 3 })
	for range 5 {
		_, err := motan.Call[string](t.Context(), c, "m", "")
		if e := wantCode(t, err, motan.CodeReject); !errors.Is(err, watchman.ErrRejected) || !strings.Contains(e.Message, motan.InFlightDial) {
			t.Error(err)
		}
	}
	if err := w.Apply(watchman.Change{Name: motan.InFlightDial, Revert: true, By: "test"}); err != nil {
		t.Fatal(err)
	}
	fs = append(fs, motan.Go[string](t.Context(), c, "m", ""))
	eventually(t, "the fourth is let in", func() bool { return srv.Stats().InFlight == 4 })
	close(release)
	for _, f := range fs {
		if _, err := f.Wait(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "all are counted", func() bool { return figures(w, watchman.Server, "s/m").Calls == 9 })
	for _, f := range []watchman.Figures{figures(w, watchman.Server, "s/m"), figures(cw, watchman.Client, "s/m")} {
		if f.Calls != 9 || f.Rejected != 5 || f.Errors != 5 {
			t.Errorf("%+v, want 9 calls of which 5 rejected", f)
		}
	}
}

// A limiter of package control protects a server as it is.
func TestLimiter(t *testing.T) {
	l, err := control.NewLimiter("m", control.LimiterOptions{Target: time.Hour, Initial: 2, Highest: 2})
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	srv := newServer(t, &motan.ServerOptions{Limiter: l})
	motan.Handle(srv, "s", "m", func(context.Context, *string) (*string, error) {
		<-release
		return nil, errors.New("the application's own business")
	})
	c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Timeout: patience, Retries: -1})
	local := newClient(t, "s", motan.InProcess(srv), &motan.ClientOptions{Timeout: patience, Retries: -1})
	fs := []*motan.Future[string]{motan.Go[string](t.Context(), c, "m", ""), motan.Go[string](t.Context(), local, "m", "")}
	eventually(t, "two are in flight", func() bool { return l.Stats().Inflight == 2 })
	for _, c := range []*motan.Client{c, local} {
		_, err := motan.Call[string](t.Context(), c, "m", "")
		wantCode(t, err, motan.CodeReject)
	}
	close(release)
	for _, f := range fs {
		if _, err := f.Wait(); err == nil {
			t.Error("no error")
		}
	}
	eventually(t, "all is given back", func() bool { return l.Stats().Inflight == 0 })
	if s := l.Stats(); s.Limit != 2 || s.Refused != 2 {
		t.Errorf("%+v: business errors lowered the limit", s)
	}
}

// A trace that the server keeps, the caller keeps too.
func TestKeepBitComesBack(t *testing.T) {
	slow := newWatchman(t, "server", &watchman.Options{Sample: -1, Slow: time.Nanosecond})
	srv := newServer(t, &motan.ServerOptions{Watchman: slow})
	handleEcho(srv, "a")
	h := httptest.NewServer(srv.HTTPHandler())
	defer h.Close()
	web := h.URL
	for _, addr := range []string{startServer(t, srv), web} {
		w := newWatchman(t, "client", &watchman.Options{Sample: -1, Slow: -1})
		c := newClient(t, "test.Echo", motan.Static(addr), &motan.ClientOptions{Timeout: patience, Watchman: w})
		call(t, c, "say", "x")
		kept := w.Traces(10)
		if len(kept) != 1 || kept[0].Keep != watchman.KeepRemote {
			t.Fatalf("%s: the caller kept %+v", addr, kept)
		}
		id := kept[0].TraceID
		eventually(t, "the server kept its part", func() bool { return len(slow.Trace(id)) == 1 })
	}
}

// A call that failed tells where its time went.
func TestPhasesOfFailedCalls(t *testing.T) {
	w, cw := newWatchman(t, "server", &watchman.Options{Sample: -1}), newWatchman(t, "client", &watchman.Options{Sample: -1})
	srv := newServer(t, &motan.ServerOptions{Watchman: w})
	motan.Handle(srv, "s", "m", func(context.Context, *string) (*string, error) { return nil, errors.New("not today") })
	c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Timeout: patience, Watchman: cw})
	if _, err := motan.Call[string](t.Context(), c, "m", ""); err == nil {
		t.Fatal("no error")
	}
	kept := cw.Traces(10)
	if len(kept) != 1 {
		t.Fatalf("the caller kept %+v", kept)
	}
	id := kept[0].TraceID
	eventually(t, "the server kept its part", func() bool { return len(w.Trace(id)) == 1 })
	for _, s := range slices.Concat(cw.Trace(id), w.Trace(id)) {
		want := "send, wait, decode"
		if s.Kind == watchman.Server {
			want = "queue, handle"
		}
		if got := phaseNames(attr(s, "motan.phases")); got != want {
			t.Errorf("%v span: phases %q, want %q", s.Kind, got, want)
		}
	}
}

// attr is a fact of a span.
func attr(s watchman.SpanRecord, key string) string {
	for _, a := range s.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

// phaseNames leaves the durations out.
func phaseNames(s string) string {
	var names []string
	for part := range strings.SplitSeq(s, ", ") {
		name, _, _ := strings.Cut(part, " ")
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// The spans of a trace that is kept anyway have their phases as such.
func TestPhasesOfSampledCalls(t *testing.T) {
	w := newWatchman(t, "all", &watchman.Options{Sample: 1})
	srv := newServer(t, &motan.ServerOptions{Watchman: w})
	handleEcho(srv, "a")
	c := newClient(t, "test.Echo", motan.Static(startServer(t, srv)), &motan.ClientOptions{Timeout: patience, Watchman: w})
	call(t, c, "say", "x")
	id := w.Traces(1)[0].TraceID
	eventually(t, "both spans are there", func() bool { return len(w.Trace(id)) == 2 })
	for _, s := range w.Trace(id) {
		var names []string
		for _, p := range s.Phases {
			names = append(names, p.Name)
		}
		want := "queue, encode, write, wait, decode"
		if s.Kind == watchman.Server {
			want = "decode, handle, encode" // the queue is what comes before
		}
		if got := strings.Join(names, ", "); got != want || attr(s, "motan.phases") != "" {
			t.Errorf("%v span: phases %q, want %q", s.Kind, got, want)
		}
	}
}
