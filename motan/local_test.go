package motan_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

// offered is what the tests of the ways without frames call.
func offered(t testing.TB, opts *motan.ServerOptions) *motan.Server {
	t.Helper()
	srv := newServer(t, opts)
	t.Cleanup(func() { srv.Close() })
	srv.Register("p", &provider{})
	motan.Handle(srv, "p", "panic", func(context.Context, *string) (*string, error) { panic("on purpose") })
	motan.Handle(srv, "p", "plain", func(context.Context, *string) (*string, error) { return nil, errors.New("no such user") })
	motan.Handle(srv, "p", "wait", func(ctx context.Context, _ *string) (*string, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	motan.Handle(srv, "p", "who", func(ctx context.Context, _ *string) (*string, error) {
		in, _ := motan.IncomingCall(ctx)
		s := in.Service + "/" + in.Method + " " + in.Metadata.Get("tenant")
		return &s, nil
	})
	motan.Handle(srv, "p", "proto", func(_ context.Context, v *wrapperspb.Int64Value) (*wrapperspb.Int64Value, error) {
		return wrapperspb.Int64(2 * v.Value), nil
	})
	return srv
}

// What a caller sees is the same without frames.
func TestOtherWaysToCall(t *testing.T) {
	srv := offered(t, &motan.ServerOptions{Logger: quiet(), Tokens: []string{"secret"}})
	web := httptest.NewServer(srv.HTTPHandler())
	t.Cleanup(web.Close)
	for name, reg := range map[string]motan.Registry{
		"frames":     motan.Static(startServer(t, srv)),
		"in process": motan.InProcess(srv),
		"http":       motan.Static(web.URL),
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, "p", reg, &motan.ClientOptions{Timeout: patience, Token: "secret", Idempotent: []string{"hello"}, HA: motan.Backup})
			for _, arg := range []any{"Ray", ptrTo("Ray")} {
				if s, err := motan.Call[string](t.Context(), c, "hello", arg); err != nil || *s != "hello Ray" {
					t.Errorf("hello(%T): %v, %v", arg, s, err)
				}
			}
			p, err := motan.Call[person](t.Context(), c, "birthday", &person{Name: "Ray", Age: 41, Tags: []string{"x"}})
			if err != nil || p.Name != "Ray" || p.Age != 42 {
				t.Errorf("birthday: %+v, %v", p, err)
			}
			s, err := motan.Call[string](t.Context(), c, "join", motan.Args{"a", int64(-300), []byte{0xde, 0xad}, true, 1.5, []string{"x", "yz"}})
			if err != nil || *s != "a|-300|dead|true|1.5|x,yz" {
				t.Errorf("join: %v, %v", s, err)
			}
			if _, err := motan.Call[string](t.Context(), c, "ping", nil); err != nil {
				t.Errorf("ping: %v", err)
			}
			if p, err := motan.Call[person](t.Context(), c, "nothing", ""); err != nil || p.Name != "" {
				t.Errorf("nothing: %+v, %v", p, err)
			}
			s, err = motan.Call[string](motan.WithMetadata(t.Context(), "tenant", "acme"), c, "who", "")
			if err != nil || *s != "p/who acme" {
				t.Errorf("who: %v, %v", s, err)
			}
			if err := motan.Send(t.Context(), c, "ping", nil); err != nil {
				t.Errorf("one-way: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			_, err = motan.Call[string](ctx, c, "wait", "")
			wantCode(t, err, motan.CodeTimeout)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v does not wrap DeadlineExceeded", err)
			}
			for method, want := range map[string]motan.Error{
				"birthday": {Code: 400, Type: motan.Business, Message: "not born"},
				"plain":    {Code: motan.CodeBusiness, Type: motan.Business, Message: "no such user"},
				"panic":    {Code: motan.CodeInternal, Type: motan.Service, Message: "provider call panic"},
				"missing":  {Code: motan.CodeInternal, Type: motan.Service, Message: "method missing is not found in provider."},
			} {
				var arg any = ""
				if method == "birthday" {
					arg = &person{Age: -1}
				}
				_, err := motan.Call[string](t.Context(), c, method, arg)
				if e := wantCode(t, err, want.Code); e.Type != want.Type || e.Message != want.Message {
					t.Errorf("%s: %v, want %v", method, err, &want)
				}
			}
			_, err = motan.Call[string](t.Context(), c, "join", motan.Args{"too few"})
			if e := wantCode(t, err, motan.CodeInternal); !strings.Contains(e.Message, "argument") {
				t.Errorf("too few arguments: %v", err)
			}
			other := newClient(t, "elsewhere", reg, &motan.ClientOptions{Timeout: patience, Token: "secret"})
			_, err = motan.Call[string](t.Context(), other, "m", "")
			wantCode(t, err, motan.CodeNotFound)
			unknown := newClient(t, "p", reg, &motan.ClientOptions{Timeout: patience})
			_, err = motan.Call[string](t.Context(), unknown, "hello", "")
			wantCode(t, err, motan.CodeUnauthorized)
		})
	}
	if n := srv.Stats().InFlight; n != 0 {
		eventually(t, "all calls have ended", func() bool { return srv.Stats().InFlight == 0 })
	}
}

func ptrTo[T any](v T) *T { return &v }

func TestInProcessConvertsWhereTypesDiffer(t *testing.T) {
	type guest struct {
		Name string `motan:"name"`
		Age  int64  `motan:"age"`
	}
	srv := offered(t, nil)
	motan.Handle(srv, "p", "same", func(_ context.Context, p *person) (*person, error) { return p, nil })
	motan.Handle(srv, "p", "raw", func(_ context.Context, r *motan.Raw) (*motan.Raw, error) { return r, nil })
	c := newClient(t, "p", motan.InProcess(srv), &motan.ClientOptions{Timeout: patience})
	g, err := motan.Call[guest](t.Context(), c, "birthday", guest{"Ray", 41})
	if err != nil || *g != (guest{"Ray", 42}) {
		t.Errorf("%+v, %v", g, err)
	}
	if s := call(t, c, "raw", "through raw"); s != "through raw" {
		t.Error(s)
	}
	r, err := motan.Call[motan.Raw](t.Context(), c, "hello", &motan.Raw{Serialization: wireSimple, Body: simpleString("Ray")})
	if err != nil || string(r.Body) != string(simpleString("hello Ray")) {
		t.Errorf("%+v, %v", r, err)
	}
	// The same types cross as they are.
	given := &person{Name: "Ray", Tags: []string{"x"}}
	p, err := motan.Call[person](t.Context(), c, "same", given)
	if err != nil || &p.Tags[0] != &given.Tags[0] {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := motan.Call[string](t.Context(), newClient(t, "p", motan.InProcess(nil), nil), "hello", ""); err == nil {
		t.Error("no server: no error")
	}
}

func TestHTTPHandler(t *testing.T) {
	srv := offered(t, &motan.ServerOptions{Logger: quiet(), MaxFrame: 1000, Rates: map[string]motan.Rate{"p/ping": {PerSecond: 1e-9, Burst: 1}}})
	web := httptest.NewServer(srv.HTTPHandler())
	t.Cleanup(web.Close)
	post := func(path, kind, body string) (int, string) {
		t.Helper()
		resp, err := http.Post(web.URL+path, kind, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	for _, tc := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"/p/hello", `"Ray"`, 200, `"hello Ray"`},
		{"/p/Hello", `"Ray"`, 200, `"hello Ray"`},
		{"/p/birthday", `{"name":"Ray","age":41}`, 200, `"Age":42`},
		{"/p/join", `["a",-300,"3q0=",true,1.5,["x","yz"]]`, 200, `"a|-300|dead|true|1.5|x,yz"`},
		{"/p/ping", ``, 200, `null`},
		{"/p/ping", ``, 503, `"errcode":10002`},
		{"/p/birthday", `{"age":-1}`, 400, `{"errcode":400,"errmsg":"not born","errtype":2}`},
		{"/p/birthday", `{`, 500, `"errmsg":"argument: `},
		{"/p/hello", `"` + strings.Repeat("x", 1000) + `"`, 413, "too large"},
		{"/p/noSuch", ``, 500, `is not found in provider`},
		{"/q/hello", ``, 404, `provider not exist serviceKey=q`},
		{"/p", ``, 405, `want POST`},
	} {
		if status, body := post(tc.path, "application/json; charset=utf-8", tc.body); status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s %.40s: %d %s, want %d %s", tc.path, tc.body, status, body, tc.status, tc.want)
		}
	}
	if resp, err := http.Get(web.URL + "/p/hello"); err != nil || resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	if status, body := post("/p/proto", "application/x-protobuf", "\x08\x15"); status != 200 || body != "\x08\x2a" {
		t.Errorf("protobuf: %d %q", status, body)
	}
	c := newClient(t, "p", motan.Static(web.URL), &motan.ClientOptions{Serializer: motan.Protobuf{}, Timeout: patience})
	if v, err := motan.Call[wrapperspb.Int64Value](t.Context(), c, "proto", wrapperspb.Int64(21)); err != nil || v.Value != 42 {
		t.Errorf("protobuf: %v, %v", v, err)
	}
	// A server that is no HTTPHandler.
	strange := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone fishing", http.StatusBadGateway) }))
	t.Cleanup(strange.Close)
	bad := newClient(t, "p", motan.Static(strange.URL), &motan.ClientOptions{Timeout: patience})
	if _, err := motan.Call[string](t.Context(), bad, "hello", ""); err == nil {
		t.Error("no error")
	}
	strange.Close()
	if _, err := motan.Call[string](t.Context(), bad, "hello", ""); err == nil {
		t.Error("no error")
	}
}

func TestCloseCutsLocalCalls(t *testing.T) {
	srv := offered(t, nil)
	c := newClient(t, "p", motan.InProcess(srv), &motan.ClientOptions{Timeout: time.Hour})
	f := motan.Go[string](t.Context(), c, "wait", "")
	eventually(t, "it is being worked on", func() bool { return srv.Stats().InFlight == 1 })
	srv.Close()
	if _, err := f.Wait(); err == nil {
		t.Error("it succeeded")
	}
	_, err := motan.Call[string](t.Context(), c, "hello", "")
	wantCode(t, err, motan.CodeReject)
}

func ExampleInProcess() {
	srv, _ := motan.NewServer(nil)
	srv.Register("com.example.Shop", Shop{})
	client, _ := motan.NewClient("com.example.Shop", motan.InProcess(srv), nil)
	defer client.Close()
	order, err := motan.Call[Order](context.Background(), client, "price", motan.Args{"tea", int64(2)})
	fmt.Println(*order, err)
	// Output: {tea 5} <nil>
}

// The argument of a one-way call is the caller's again when Send has returned.
func TestSendInProcessKeepsNothing(t *testing.T) {
	type note struct {
		Text string            `motan:"text"`
		Tags map[string]string `motan:"tags"`
	}
	srv := newServer(t, nil)
	t.Cleanup(func() { srv.Close() })
	changed, seen := make(chan struct{}), make(chan any)
	motan.Handle(srv, "s", "note", func(_ context.Context, n *note) (*string, error) {
		<-changed
		seen <- *n
		return nil, nil
	})
	motan.Handle(srv, "s", "raw", func(_ context.Context, r *motan.Raw) (*string, error) {
		<-changed
		seen <- string(r.Body)
		return nil, nil
	})
	motan.Handle(srv, "s", "any", func(_ context.Context, v *any) (*string, error) {
		<-changed
		seen <- fmt.Sprintf("%T %v", *v, *v)
		return nil, nil
	})
	c := newClient(t, "s", motan.InProcess(srv), nil)
	n := &note{"before", map[string]string{"k": "before"}}
	if err := motan.Send(t.Context(), c, "note", n); err != nil {
		t.Fatal(err)
	}
	raw := &motan.Raw{Serialization: wireSimple, Body: simpleString("before")}
	if err := motan.Send(t.Context(), c, "raw", raw); err != nil {
		t.Fatal(err)
	}
	if err := motan.Send(t.Context(), c, "any", map[string]any{"string": "before"}); err != nil {
		t.Fatal(err)
	}
	n.Text, n.Tags["k"] = "after", "after"
	copy(raw.Body[5:], "after!")
	close(changed)
	for range 3 {
		if s := fmt.Sprint(<-seen); strings.Contains(s, "after") || strings.Contains(s, "Raw") || !strings.Contains(s, "before") {
			t.Errorf("the handler saw %q", s)
		}
	}
	// What cannot be sent over the wire cannot be sent here, and the caller learns it.
	err := motan.Send(t.Context(), c, "note", make(chan int))
	if e := wantCode(t, err, motan.CodeEncode); e.Message == "" {
		t.Error(err)
	}
}

// Send of a closing server either has its handler run before Close returns, or fails.
func TestSendInProcessWhileClosing(t *testing.T) {
	for range 10 {
		srv := newServer(t, nil)
		var running, after atomic.Int64
		var closed atomic.Bool
		motan.Handle(srv, "s", "m", func(context.Context, *string) (*string, error) {
			running.Add(1)
			defer running.Add(-1)
			if closed.Load() {
				after.Add(1)
			}
			return nil, nil
		})
		c := newClient(t, "s", motan.InProcess(srv), &motan.ClientOptions{Timeout: patience, Retries: -1})
		var begun, wg sync.WaitGroup
		begun.Add(4)
		for range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					late := closed.Load()
					err := motan.Send(t.Context(), c, "m", "x")
					if i == 0 {
						begun.Done()
					}
					if err == nil && late {
						t.Error("sent to a closed server")
						return
					}
					if err != nil {
						if e := wantCode(t, err, motan.CodeReject); !errors.Is(err, watchman.ErrRejected) {
							t.Errorf("%+v", e)
						}
						return
					}
				}
			})
		}
		begun.Wait()
		srv.Close()
		closed.Store(true)
		if n := running.Load(); n != 0 {
			t.Errorf("%d handlers run on a closed server", n)
		}
		wg.Wait()
		if n := after.Load(); n != 0 {
			t.Errorf("%d handlers began on a closed server", n)
		}
	}
}
