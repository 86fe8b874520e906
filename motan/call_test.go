package motan_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

type person struct {
	Name string   `motan:"name"`
	Age  int32    `motan:"age"`
	Tags []string `motan:"tags"`
}

func TestCallCarriesValues(t *testing.T) {
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "struct", func(_ context.Context, p *person) (*person, error) {
		p.Age++
		return p, nil
	})
	motan.Handle(srv, "s", "void", func(context.Context, *string) (*string, error) { return nil, nil })
	motan.Handle(srv, "s", "any", func(_ context.Context, v *any) (*any, error) { return v, nil })
	motan.Handle(srv, "s", "raw", func(_ context.Context, r *motan.Raw) (*motan.Raw, error) { return r, nil })
	addr := startServer(t, srv)
	c := newClient(t, "s", motan.Static(addr), nil)

	got, err := motan.Call[person](t.Context(), c, "struct", &person{"Ray", 41, []string{"a", "b"}})
	if err != nil || got.Name != "Ray" || got.Age != 42 || strings.Join(got.Tags, ",") != "a,b" {
		t.Errorf("struct: %+v, %v", got, err)
	}
	if s, err := motan.Call[string](t.Context(), c, "void", "x"); err != nil || *s != "" {
		t.Errorf("void: %v, %v", s, err)
	}
	if s, err := motan.Call[string](t.Context(), c, "void", nil); err != nil || *s != "" {
		t.Errorf("void without an argument: %v, %v", s, err)
	}
	v, err := motan.Call[any](t.Context(), c, "any", map[string]any{"n": int64(5)})
	if m, _ := (*v).(map[any]any); err != nil || m["n"] != int64(5) {
		t.Errorf("any: %#v, %v", *v, err)
	}
	raw, err := motan.Call[motan.Raw](t.Context(), c, "raw", &motan.Raw{Serialization: wireSimple, Body: simpleString("as it is")})
	if err != nil || raw.Serialization != wireSimple || string(raw.Body) != string(simpleString("as it is")) {
		t.Errorf("raw: %+v, %v", raw, err)
	}
	if s := call(t, c, "raw", "typed"); s != "typed" {
		t.Errorf("raw, typed: %q", s)
	}
}

func TestCallOverUnixSocket(t *testing.T) {
	srv := newServer(t, nil)
	handleEcho(srv, "u")
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	for _, addr := range []string{"unix:" + path, "unix://" + path} {
		c := newClient(t, "test.Echo", motan.Static(addr), nil)
		if s := call(t, c, "say", "x"); s != "u:x" {
			t.Errorf("%s: %q", addr, s)
		}
	}
}

func TestDeadlineTravels(t *testing.T) {
	srv := newServer(t, nil)
	left := make(chan time.Duration, 1)
	ended := make(chan error, 1)
	motan.Handle(srv, "s", "left", func(ctx context.Context, _ *string) (*string, error) {
		d, ok := ctx.Deadline()
		if !ok {
			return nil, errors.New("no deadline")
		}
		left <- time.Until(d)
		return nil, nil
	})
	motan.Handle(srv, "s", "stay", func(ctx context.Context, _ *string) (*string, error) {
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Timeout: 40 * time.Second})

	call(t, c, "left", "")
	if d := <-left; d > 40*time.Second || d < 20*time.Second {
		t.Errorf("with Timeout alone the handler has %v", d)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := motan.Call[string](ctx, c, "left", ""); err != nil {
		t.Fatal(err)
	}
	if d := <-left; d > 30*time.Second || d < 10*time.Second {
		t.Errorf("with a context's deadline the handler has %v", d)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Second) // enough to reach the handler
	defer cancel()
	_, err := motan.Call[string](ctx, c, "stay", "")
	wantCode(t, err, motan.CodeTimeout)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not wrap DeadlineExceeded", err)
	}
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the handler's context ended with %v", err)
	}
}

func TestCancelledCallReturns(t *testing.T) {
	n := startNode(t, "a", nil)
	c := newClient(t, "test.Echo", motan.Static(n.addr), &motan.ClientOptions{Timeout: time.Hour})
	call(t, c, "say", "")
	eventually(t, "it is counted out", func() bool { return n.srv.Stats().InFlight == 0 })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := motan.Call[string](ctx, c, "wait", "")
		done <- err
	}()
	eventually(t, "the call is being worked on", func() bool { return n.srv.Stats().InFlight == 1 })
	cancel()
	err := <-done
	wantCode(t, err, motan.CodeCancelled)
	if !errors.Is(err, context.Canceled) || motan.Retryable(err) {
		t.Errorf("%v: wraps Canceled: %v, retryable: %v", err, errors.Is(err, context.Canceled), motan.Retryable(err))
	}
	if s := call(t, c, "say", "still here"); s != "a:still here" {
		t.Errorf("afterwards: %q", s)
	}
}

func TestMetadataTravels(t *testing.T) {
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "m", func(ctx context.Context, _ *string) (*string, error) {
		in, ok := motan.IncomingCall(ctx)
		if !ok {
			return nil, errors.New("no incoming call")
		}
		if err := motan.Reply(ctx, "answer", "42"); err != nil {
			return nil, err
		}
		for _, bad := range [][2]string{{"M_p", "x"}, {"", "x"}, {"x", ""}, {"x", "a\nb"}, {"traceparent", "x"}} {
			if motan.Reply(ctx, bad[0], bad[1]) == nil {
				return nil, fmt.Errorf("Reply took %q", bad)
			}
		}
		out := fmt.Sprintf("%s %s %s %s %s %s %s", in.Service, in.Method, in.Application, in.Group, in.Version, in.Metadata.Get("colour"), in.Metadata.Get("k"))
		if in.Peer == "" || in.RequestID == 0 || time.Since(in.Received) > patience {
			return nil, fmt.Errorf("%+v", in)
		}
		return &out, nil
	})
	c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Group: "g", Version: "2.0", Application: "shop"})
	ctx := motan.WithMetadata(motan.WithMetadata(t.Context(), "colour", "green"), "k", "v")
	var reply motan.Metadata
	s, err := motan.Call[string](motan.WithReply(ctx, &reply), c, "m", "")
	if err != nil || *s != "s m shop g 2.0 green v" {
		t.Errorf("%v, %v", s, err)
	}
	if reply.Get("answer") != "42" || reply.Get("M_pt") == "" || reply.Get("none") != "" {
		t.Errorf("reply %v", reply)
	}
	for _, bad := range [][2]string{{"M_p", "x"}, {"", "x"}, {"x", ""}, {"x", "a\nb"}, {"a\nb", "x"}, {"baggage", "x"}} {
		_, err := motan.Call[string](motan.WithMetadata(ctx, bad[0], bad[1]), c, "m", "")
		wantCode(t, err, motan.CodeEncode)
	}
	if _, ok := motan.IncomingCall(t.Context()); ok || motan.Reply(t.Context(), "a", "b") == nil {
		t.Error("a context that is no handler's has an incoming call")
	}
}

func TestTraceTravels(t *testing.T) {
	w, err := watchman.New("both", &watchman.Options{Sample: 1})
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(t, &motan.ServerOptions{Watchman: w})
	var seen watchman.TraceID
	motan.Handle(srv, "s", "m", func(ctx context.Context, _ *string) (*string, error) {
		seen = watchman.FromContext(ctx).SpanContext().TraceID
		return nil, nil
	})
	c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Watchman: w})
	ctx, span := w.Operation(watchman.Internal, "test").Start(t.Context())
	if _, err := motan.Call[string](ctx, c, "m", ""); err != nil {
		t.Fatal(err)
	}
	if id := span.SpanContext().TraceID; seen != id {
		t.Errorf("the handler is in trace %v, the caller in %v", seen, id)
	}
	span.End(nil)
}

func TestErrorsCrossTheWire(t *testing.T) {
	srv := newServer(t, nil)
	errs := map[string]error{
		"plain":    errors.New("no such user"),
		"business": &motan.Error{Code: 20101, Type: motan.Business, Message: "weibo does not exist"},
		"wrapped":  fmt.Errorf("while serving: %w", &motan.Error{Code: 7, Type: motan.Service, Message: "seven"}),
		"unicode":  errors.New("zwölf\nBoxkämpfer \"jagen\" \x00 微博"),
		"long":     errors.New(strings.Repeat("long ", 20000)),
	}
	for name, e := range errs {
		motan.Handle(srv, "s", name, func(context.Context, *string) (*string, error) { return nil, e })
	}
	motan.Handle(srv, "s", "panic", func(context.Context, *string) (*string, error) { panic("on purpose") })
	motan.Handle(srv, "s", "unencodable", func(context.Context, *string) (*any, error) {
		var v any = make(chan int)
		return &v, nil
	})
	c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Timeout: patience})
	for _, tc := range []struct {
		method string
		code   int
		kind   motan.ErrorType
		text   string
	}{
		{"plain", motan.CodeBusiness, motan.Business, "no such user"},
		{"business", 20101, motan.Business, "weibo does not exist"},
		{"wrapped", 7, motan.Service, "seven"},
		{"unicode", motan.CodeBusiness, motan.Business, "zwölf\nBoxkämpfer \"jagen\" \x00 微博"},
		{"long", motan.CodeBusiness, motan.Business, strings.Repeat("long ", 20000)},
		{"panic", motan.CodeInternal, motan.Service, "provider call panic"},
		{"unencodable", motan.CodeInternal, motan.Service, "answer: "},
		{"missing", motan.CodeInternal, motan.Service, "method missing is not found in provider."},
	} {
		_, err := motan.Call[string](t.Context(), c, tc.method, "")
		var e *motan.Error
		if !errors.As(err, &e) || e.Code != tc.code || e.Type != tc.kind || !strings.HasPrefix(e.Message, tc.text) {
			t.Errorf("%s: %v", tc.method, err)
			continue
		}
		if motan.Retryable(err) {
			t.Errorf("%s: %v is retryable", tc.method, err)
		}
	}
	none := newClient(t, "elsewhere", motan.Static(startServer(t, srv2(t))), nil)
	_, err := motan.Call[string](t.Context(), none, "m", "")
	if e := wantCode(t, err, motan.CodeNotFound); e.Message != "provider not exist serviceKey=elsewhere" || !motan.Retryable(err) {
		t.Errorf("a missing service: %v, retryable %v", err, motan.Retryable(err))
	}
}

func srv2(t testing.TB) *motan.Server {
	srv := newServer(t, nil)
	handleEcho(srv, "x")
	return srv
}

func TestCallRefusesWhatItCannotSend(t *testing.T) {
	n := startNode(t, "a", nil)
	c := newClient(t, "test.Echo", motan.Static(n.addr), &motan.ClientOptions{MaxFrame: 1000})
	for name, f := range map[string]func() error{
		"no method":   func() error { _, err := motan.Call[string](t.Context(), c, "", "x"); return err },
		"a line feed": func() error { _, err := motan.Call[string](t.Context(), c, "a\nb", "x"); return err },
		"a channel":   func() error { _, err := motan.Call[string](t.Context(), c, "say", make(chan int)); return err },
		"a large body": func() error {
			_, err := motan.Call[string](t.Context(), c, "say", strings.Repeat("x", 1001))
			return err
		},
		"much metadata": func() error {
			_, err := motan.Call[string](motan.WithMetadata(t.Context(), "k", strings.Repeat("x", 1001)), c, "say", "x")
			return err
		},
		"one-way": func() error { return motan.Send(t.Context(), c, "say", make(chan int)) },
	} {
		err := f()
		if e := wantCode(t, err, motan.CodeEncode); e.Type != motan.Framework || motan.Retryable(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := c.Stats(); got.Errors != 6 || got.Retries != 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestSendIsNotAnswered(t *testing.T) {
	srv := newServer(t, nil)
	var got atomic.Int64
	motan.Handle(srv, "s", "add", func(_ context.Context, n *int64) (*int64, error) {
		got.Add(*n)
		return n, nil
	})
	motan.Handle(srv, "s", "fail", func(_ context.Context, n *int64) (*int64, error) {
		got.Add(*n)
		return nil, errors.New("nobody hears this")
	})
	c := newClient(t, "s", motan.Static(startServer(t, srv)), nil)
	for i := range 1000 {
		if err := motan.Send(t.Context(), c, []string{"add", "fail"}[i%2], int64(1)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all arrive", func() bool { return got.Load() == 1000 })
	if n, err := motan.Call[int64](t.Context(), c, "add", int64(7)); err != nil || *n != 7 {
		t.Errorf("a call afterwards: %v, %v", n, err)
	}
}

func TestGoIsCallWithoutWaiting(t *testing.T) {
	n := startNode(t, "a", nil)
	c := newClient(t, "test.Echo", motan.Static(n.addr), &motan.ClientOptions{Timeout: patience})
	var futures []*motan.Future[string]
	for i := range 50 {
		futures = append(futures, motan.Go[string](t.Context(), c, "say", fmt.Sprint(i)))
	}
	for i, f := range futures {
		<-f.Done()
		if s, err := f.Wait(); err != nil || *s != fmt.Sprintf("a:%d", i) {
			t.Errorf("future %d: %v, %v", i, s, err)
		}
	}
	if _, err := motan.Go[string](t.Context(), c, "nothing", "").Wait(); err == nil {
		t.Error("no error of a missing method")
	}
}

// Many callers, answers in another order than the requests, bodies of all sizes,
// over connections that deliver as they like.
func TestConcurrentCallsGetTheirOwnAnswers(t *testing.T) {
	for name, chunk := range map[string]int{"plain": 0, "chunked": 700} {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t, nil)
			motan.Handle(srv, "s", "echo", func(_ context.Context, p *person) (*person, error) {
				if p.Age%7 == 0 {
					time.Sleep(time.Duration(p.Age%5) * time.Millisecond)
				}
				return p, nil
			})
			ln := listenFaulty(t, chunk)
			var at net.Listener = ln
			if chunk == 0 {
				at = ln.Listener
			}
			go srv.Serve(at)
			t.Cleanup(func() { srv.Close() })
			c := newClient(t, "s", motan.Static(ln.Addr().String()), &motan.ClientOptions{Timeout: patience, Connections: 3})
			var wg sync.WaitGroup
			for g := range 40 {
				wg.Go(func() {
					for i := range 50 {
						size := []int{0, 10, 1000, 5000, 70000}[rand.IntN(5)]
						if size == 70000 && i%10 != 0 {
							size = 100
						}
						want := fmt.Sprintf("%d/%d/%s", g, i, strings.Repeat("x", size))
						got, err := motan.Call[person](t.Context(), c, "echo", &person{Name: want, Age: int32(g * i)})
						if err != nil || got.Name != want || got.Age != int32(g*i) {
							t.Errorf("caller %d call %d: %v", g, i, err)
							return
						}
					}
				})
			}
			wg.Wait()
			if s := c.Stats(); s.Calls != 2000 || s.Errors != 0 || s.Retries != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestLargeBodies(t *testing.T) {
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "echo", func(_ context.Context, b *[]byte) (*[]byte, error) { return b, nil })
	motan.Handle(srv, "s", "blow", func(_ context.Context, n *int64) (*[]byte, error) {
		b := make([]byte, *n)
		return &b, nil
	})
	c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Timeout: patience, Heartbeat: patience}) // no frame comes while a large one does
	big := make([]byte, 9<<20)
	for i := range big {
		big[i] = byte(i * 7)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			got, err := motan.Call[[]byte](t.Context(), c, "echo", &big)
			if err != nil || string(*got) != string(big) {
				t.Errorf("9 MiB: %v", err)
			}
		})
	}
	wg.Wait()
	_, err := motan.Call[[]byte](t.Context(), c, "blow", int64(11<<20))
	if e := wantCode(t, err, motan.CodeInternal); !strings.Contains(e.Message, "larger than allowed") {
		t.Errorf("an answer of 11 MiB: %v", err)
	}
}

func TestGzip(t *testing.T) {
	srv := newServer(t, &motan.ServerOptions{GzipOver: 1000, MaxFrame: 1 << 20})
	motan.Handle(srv, "s", "twice", func(_ context.Context, s *string) (*string, error) {
		out := *s + *s
		return &out, nil
	})
	var sizes [2]int
	see := func(next motan.Invoker) motan.Invoker {
		return func(ctx context.Context, x *motan.Exchange) error {
			err := next(ctx, x)
			sizes = [2]int{x.RequestBytes, x.ResponseBytes}
			return err
		}
	}
	c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{GzipOver: 1000, Timeout: patience, Interceptors: []motan.Interceptor{see}})
	for _, n := range []int{10, 600, 300000} {
		want := strings.Repeat("a", n)
		if s := call(t, c, "twice", want); s != want+want {
			t.Fatalf("%d bytes came back as %d", n, len(s))
		}
		if small := sizes[0] < n; small != (n > 1000) {
			t.Errorf("a request of %d bytes went as %d", n, sizes[0])
		}
		if small := sizes[1] < 2*n; small != (2*n > 1000) {
			t.Errorf("an answer of %d bytes came as %d", 2*n, sizes[1])
		}
	}
	// What inflates beyond MaxFrame is refused, by the client of the answer here.
	tight := newClient(t, "s", motan.Static(startServer(t, func() *motan.Server {
		srv := newServer(t, &motan.ServerOptions{GzipOver: 1000})
		motan.Handle(srv, "s", "bomb", func(context.Context, *string) (*string, error) {
			s := strings.Repeat("a", 1<<20)
			return &s, nil
		})
		return srv
	}())), &motan.ClientOptions{MaxFrame: 100 << 10, Timeout: patience})
	_, err := motan.Call[string](t.Context(), tight, "bomb", "")
	if e := wantCode(t, err, motan.CodeDecode); !strings.Contains(e.Message, "inflates beyond") {
		t.Errorf("a bomb: %v", err)
	}
}

func TestClosedClient(t *testing.T) {
	n := startNode(t, "a", nil)
	c := newClient(t, "test.Echo", motan.Static(n.addr), &motan.ClientOptions{Timeout: time.Hour})
	done := make(chan error)
	go func() {
		_, err := motan.Call[string](t.Context(), c, "wait", "")
		done <- err
	}()
	eventually(t, "the call is being worked on", func() bool { return n.srv.Stats().InFlight == 1 })
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; !errors.Is(err, motan.ErrClosed) {
		t.Errorf("the call in flight: %v", err)
	}
	_, err := motan.Call[string](t.Context(), c, "say", "")
	if !errors.Is(err, motan.ErrClosed) {
		t.Errorf("a call afterwards: %v", err)
	}
	never := newClient(t, "test.Echo", motan.Static(n.addr), nil)
	never.Close()
	if _, err := motan.Call[string](t.Context(), never, "say", ""); !errors.Is(err, motan.ErrClosed) {
		t.Errorf("a client that was never used: %v", err)
	}
}

func TestNewClientTellsAllThatIsWrong(t *testing.T) {
	_, err := motan.NewClient("a\nb", nil, &motan.ClientOptions{
		HA: 17, Balance: -1, Timeout: -1, Connections: 65, MaxFrame: -1, Group: "x\ny", Token: "a\nb", BackupAfter: -1, GzipOver: -1,
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"service", "registry", "HA 17", "Balance -1", "Timeout", "Connections 65", "MaxFrame", "Group", "Token", "BackupAfter", "GzipOver"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing about %s in: %v", want, err)
		}
	}
	_, err = motan.NewServer(&motan.ServerOptions{MaxFrame: -1, MaxInFlight: -1, MaxConns: -1, Tokens: []string{""}, Rates: map[string]motan.Rate{"s": {}}})
	for _, want := range []string{"MaxFrame", "MaxInFlight", "MaxConns", "Tokens[0]", `Rates "s"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing about %s in: %v", want, err)
		}
	}
}
