package motan_test

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

// exception answers f with the given M_e.
func exception(f wireFrame, text string) []byte {
	return wireFrame{kind: wireResponse, status: 1, serialization: wireSimple, id: f.id, meta: map[string]string{"M_e": text}}.bytes()
}

// Another endpoint is tried only where nothing can be done twice.
func TestFailoverOnlyWhereSafe(t *testing.T) {
	const once, twice = "change", "read"
	for _, tc := range []struct {
		name   string
		first  func(conn net.Conn, f wireFrame) bool // what the first endpoint does
		method string
		ha     motan.HA
		code   int // 0: the second endpoint answers
	}{
		{"hangs up, may be done twice", hangUp, twice, motan.Failover, 0},
		{"hangs up, must not", hangUp, once, motan.Failover, motan.CodeConnection},
		{"hangs up, failfast", hangUp, twice, motan.Failfast, motan.CodeConnection},
		{"rejects", answerException(`{"errcode":10002,"errmsg":"busy","errtype":1}`), once, motan.Failover, 0},
		{"rejects, failfast", answerException(`{"errcode":10002,"errmsg":"busy","errtype":1}`), once, motan.Failfast, motan.CodeReject},
		{"does not have it", answerException(`{"errcode":404,"errmsg":"provider not exist serviceKey=s","errtype":1}`), once, motan.Failover, 0},
		{"business error", answerException(`{"errcode":30001,"errmsg":"no","errtype":2}`), twice, motan.Failover, motan.CodeBusiness},
		{"business error with the code of another", answerException(`{"errcode":10002,"errmsg":"no","errtype":2}`), twice, motan.Failover, motan.CodeReject},
		{"service error", answerException(`{"errcode":500,"errmsg":"panic","errtype":1}`), twice, motan.Failover, 0},
		{"service error, must not be done twice", answerException(`{"errcode":500,"errmsg":"panic","errtype":1}`), once, motan.Failover, motan.CodeInternal},
		{"service error that any server would give", answerException(`{"errcode":500,"errmsg":"argument: no number","errtype":1}`), twice, motan.Failover, motan.CodeInternal},
		{"no exception that can be read", answerException(`{`), twice, motan.Failover, 0},
		{"garbage", func(conn net.Conn, _ wireFrame) bool {
			conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			return false
		}, twice, motan.Failover, 0},
		{"half an answer", func(conn net.Conn, f wireFrame) bool {
			b := wireFrame{kind: wireResponse, serialization: wireSimple, id: f.id, body: simpleString("lost")}.bytes()
			conn.Write(b[:len(b)-3])
			return false
		}, twice, motan.Failover, 0},
		{"half an answer, must not be done twice", func(conn net.Conn, f wireFrame) bool {
			b := wireFrame{kind: wireResponse, serialization: wireSimple, id: f.id, body: simpleString("lost")}.bytes()
			conn.Write(b[:20])
			return false
		}, once, motan.Failover, motan.CodeConnection},
		{"an answer of another type", func(conn net.Conn, f wireFrame) bool {
			conn.Write(wireFrame{kind: wireResponse, serialization: wireSimple, id: f.id, body: []byte{5, 1}}.bytes())
			return true
		}, once, motan.Failover, motan.CodeDecode},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var asked atomic.Int64 // calls of the method that the first endpoint got
			first := startWireServer(t, func(conn net.Conn, f wireFrame) bool {
				if f.meta["M_m"] != tc.method {
					answerString(conn, f, "")
					return true
				}
				asked.Add(1)
				return tc.first(conn, f)
			})
			second := startWireServer(t, func(conn net.Conn, f wireFrame) bool {
				answerString(conn, f, "second")
				return true
			})
			c := newClient(t, "s", motan.Static(first.addr, second.addr), &motan.ClientOptions{
				HA: tc.ha, Idempotent: []string{twice}, Timeout: patience, Balance: motan.LeastRecentlyUsed, Connections: 1,
			})
			eventuallyUp(t, c, 2)
			var s *string
			var err error
			for asked.Load() == 0 && err == nil { // until it is the first one's turn
				s, err = motan.Call[string](t.Context(), c, tc.method, "x")
			}
			if tc.code == 0 {
				if err != nil || *s != "second" {
					t.Fatalf("%v, %v", s, err)
				}
				return
			}
			wantCode(t, err, tc.code)
			if n := c.Stats().Retries; n != 0 {
				t.Errorf("%d retries", n)
			}
		})
	}
}

// A server that fails every call is left alone, as one that cannot be reached is.
func TestServerThatFailsIsLeftAlone(t *testing.T) {
	var asked atomic.Int64
	sick := startWireServer(t, func(conn net.Conn, f wireFrame) bool {
		asked.Add(1)
		return answerException(`{"errcode":500,"errmsg":"panic","errtype":1}`)(conn, f)
	})
	well := startWireServer(t, func(conn net.Conn, f wireFrame) bool {
		answerString(conn, f, "well")
		return true
	})
	c := newClient(t, "s", motan.Static(sick.addr, well.addr), &motan.ClientOptions{
		Idempotent: []string{"read", "warm-up"}, Timeout: patience, Connections: 1,
	})
	eventuallyUp(t, c, 2)
	const calls = 1000
	for range calls {
		if _, err := motan.Call[string](t.Context(), c, "read", "x"); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked.Load(); n > calls/4 {
		t.Errorf("the sick one was asked %d times of %d", n, calls)
	}
}

// What the application says is no failure of its server, however often it says it.
func TestBusinessErrorsDoNotOpenTheBreaker(t *testing.T) {
	srv := startWireServer(t, answerException(`{"errcode":30001,"errmsg":"no such user","errtype":2}`))
	c := newClient(t, "s", motan.Static(srv.addr), &motan.ClientOptions{Timeout: patience, Idempotent: []string{"read"}})
	for range 200 {
		_, err := motan.Call[string](t.Context(), c, "read", "x")
		wantCode(t, err, motan.CodeBusiness)
	}
	if e := c.Stats().Endpoints[0]; e.Opened != 0 || e.Errors != 0 || e.Down != "" {
		t.Errorf("%+v", e)
	}
}

func hangUp(net.Conn, wireFrame) bool { return false }

func answerException(text string) func(net.Conn, wireFrame) bool {
	return func(conn net.Conn, f wireFrame) bool {
		conn.Write(exception(f, text))
		return true
	}
}

// eventuallyUp waits until n endpoints of c are connected. It makes calls of a
// method that nobody counts.
func eventuallyUp(t testing.TB, c *motan.Client, n int) {
	t.Helper()
	eventually(t, "the endpoints are connected", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		motan.Call[string](ctx, c, "warm-up", "")
		up := 0
		for _, e := range c.Stats().Endpoints {
			if e.Connections > 0 {
				up++
			}
		}
		return up >= n
	})
}

func TestNoEndpointSaysWhy(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := ln.Addr().String()
	ln.Close()
	c := newClient(t, "com.example.S", motan.Static(dead, "unix:/nonexistent/socket"), &motan.ClientOptions{Timeout: patience})
	_, err = motan.Call[string](t.Context(), c, "m", "")
	e := wantCode(t, err, motan.CodeNoEndpoint)
	for _, want := range []string{"com.example.S", dead + ": not connected: ", "refused", "unix:/nonexistent/socket: not connected: "} {
		if !strings.Contains(e.Message, want) {
			t.Errorf("nothing about %q in %v", want, err)
		}
	}
	if !motan.Retryable(err) {
		t.Errorf("%v is not retryable", err)
	}
	for _, e := range c.Stats().Endpoints {
		if e.Down == "" {
			t.Errorf("%+v is not down", e)
		}
	}

	for name, reg := range map[string]motan.Registry{
		"none":      motan.Static(),
		"malformed": motan.Static("nowhere"),
		"no path":   motan.Static("unix:"),
	} {
		c := newClient(t, "s", reg, nil)
		_, err := motan.Call[string](t.Context(), c, "m", "")
		wantCode(t, err, motan.CodeNoEndpoint)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// listing is a Registry whose list the test changes.
type listing struct {
	mu      sync.Mutex
	list    []motan.Endpoint
	updates []func([]motan.Endpoint)
	fail    error
	block   bool
}

func (l *listing) Watch(ctx context.Context, _, _, _ string, update func([]motan.Endpoint)) error {
	l.mu.Lock()
	block, err := l.block, l.fail
	l.mu.Unlock()
	if block {
		<-ctx.Done()
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	update(l.list)
	l.updates = append(l.updates, update)
	return nil
}

func (l *listing) set(addrs ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
	for _, a := range addrs {
		l.list = append(l.list, motan.Endpoint{Addr: a})
	}
	for _, u := range l.updates {
		u(append([]motan.Endpoint(nil), l.list...))
	}
}

func TestRegistryFailsAndRecovers(t *testing.T) {
	n := startNode(t, "a", nil)
	reg := &listing{fail: errors.New("the registry is down")}
	c := newClient(t, "test.Echo", reg, nil)
	_, err := motan.Call[string](t.Context(), c, "say", "x")
	wantCode(t, err, motan.CodeNoEndpoint)
	if !errors.Is(err, reg.fail) {
		t.Errorf("%v does not wrap the registry's error", err)
	}
	reg.mu.Lock()
	reg.fail = nil
	reg.mu.Unlock()
	reg.set(n.addr)
	if s := call(t, c, "say", "x"); s != "a:x" {
		t.Errorf("once it is back: %q", s)
	}
	// An unresponsive registry costs a call no more than its time, and Close none.
	stuck := newClient(t, "test.Echo", &listing{block: true}, &motan.ClientOptions{Timeout: 30 * time.Millisecond})
	_, err = motan.Call[string](t.Context(), stuck, "say", "x")
	wantCode(t, err, motan.CodeNoEndpoint)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not wrap DeadlineExceeded", err)
	}
}

func TestEndpointsComeAndGo(t *testing.T) {
	a, b := startNode(t, "a", nil), startNode(t, "b", nil)
	reg := &listing{}
	reg.set(a.addr, a.addr)
	c := newClient(t, "test.Echo", reg, &motan.ClientOptions{Timeout: patience, SlowStart: -1})
	if s := call(t, c, "say", "1"); s != "a:1" {
		t.Fatal(s)
	}
	if n := len(c.Stats().Endpoints); n != 1 {
		t.Errorf("an address listed twice makes %d endpoints", n)
	}
	// A call that is under way when its endpoint is taken off the list ends as usual.
	eventually(t, "the first call is counted out", func() bool { return a.srv.Stats().InFlight == 0 })
	ctx, cancel := context.WithCancel(t.Context())
	waiting := motan.Go[string](ctx, c, "wait", "")
	eventually(t, "the call is being worked on", func() bool { return a.srv.Stats().InFlight == 1 })
	reg.set(b.addr)
	if s := call(t, c, "say", "2"); s != "b:2" {
		t.Errorf("after the change: %q", s)
	}
	eventually(t, "the old endpoint is leaving", func() bool { return c.Stats().Leaving == 1 })
	select {
	case <-waiting.Done():
		t.Error("the call in flight was cut off")
	default:
	}
	cancel()
	if _, err := waiting.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("the call in flight: %v", err)
	}
	eventually(t, "the old endpoint is closed", func() bool { return c.Stats().Leaving == 0 && a.srv.Stats().Conns == 0 })
	reg.set()
	_, err := motan.Call[string](t.Context(), c, "say", "3")
	if e := wantCode(t, err, motan.CodeNoEndpoint); !strings.Contains(e.Message, "none is registered") {
		t.Error(err)
	}
	reg.set(a.addr)
	if s := call(t, c, "say", "4"); s != "a:4" {
		t.Errorf("when it is listed again: %q", s)
	}
}

// A node that dies while calls are in flight: those that may be done twice all
// succeed, the others fail or succeed, and none is executed twice.
func TestKilledNode(t *testing.T) {
	var executed sync.Map // argument of "change" → *atomic.Int64
	start := func(l net.Listener) *motan.Server {
		srv := newServer(t, nil)
		motan.Handle(srv, "s", "read", func(_ context.Context, s *string) (*string, error) { return s, nil })
		motan.Handle(srv, "s", "change", func(_ context.Context, s *string) (*string, error) {
			n, _ := executed.LoadOrStore(*s, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
			return s, nil
		})
		go srv.Serve(l)
		t.Cleanup(func() { srv.Close() })
		return srv
	}
	var lns [3]*faultListener
	var addrs []string
	for i := range lns {
		lns[i] = listenFaulty(t, 0)
		addrs = append(addrs, lns[i].Addr().String())
		start(lns[i])
	}
	c := newClient(t, "s", motan.Static(addrs...), &motan.ClientOptions{Timeout: patience, Retries: 2, Idempotent: []string{"read"}})
	call(t, c, "read", "")
	var wg sync.WaitGroup
	var reads, changes, lost atomic.Int64
	for g := range 20 {
		wg.Go(func() {
			for i := range 300 {
				arg := strings.Repeat("x", i%50) + string(rune('a'+g)) + time.Duration(i).String()
				if i%2 == 0 {
					if _, err := motan.Call[string](t.Context(), c, "read", &arg); err != nil {
						t.Errorf("read: %v", err)
					}
					reads.Add(1)
					continue
				}
				_, err := motan.Call[string](t.Context(), c, "change", &arg)
				if err != nil {
					lost.Add(1)
					wantCodeIn(t, err, motan.CodeConnection)
				}
				changes.Add(1)
			}
		})
	}
	eventually(t, "calls are made", func() bool { return reads.Load() > 500 })
	// The connections of one node break within a frame, those of another at once.
	lns[0].Listener.Close()
	lns[0].each(func(f *faultConn) { f.budget.Store(33) })
	eventually(t, "more calls are made", func() bool { return reads.Load() > 1000 })
	lns[1].Listener.Close()
	lns[1].each(func(f *faultConn) { f.Conn.Close() })
	wg.Wait()
	if changes.Load() != 3000 {
		t.Errorf("%d changes", changes.Load())
	}
	executed.Range(func(k, v any) bool {
		if n := v.(*atomic.Int64).Load(); n != 1 {
			t.Errorf("%q was executed %d times", k, n)
		}
		return true
	})
	t.Logf("%d of 3000 changes were lost with their connections, %d retries", lost.Load(), c.Stats().Retries)
}

func wantCodeIn(t testing.TB, err error, code int) {
	t.Helper()
	var e *motan.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%v, want code %d", err, code)
	}
}

// A node that accepts and never answers costs a call one TryTimeout, and soon
// nobody asks it any more.
func TestHangingNode(t *testing.T) {
	hung := startWireServer(t, func(net.Conn, wireFrame) bool { return true })
	good := startNode(t, "good", nil)
	c := newClient(t, "test.Echo", motan.Static(hung.addr, good.addr), &motan.ClientOptions{
		// One that takes so long on a busy machine is no reason to give up.
		Timeout: patience, TryTimeout: 200 * time.Millisecond, Retries: 4, Idempotent: []string{"say"}, Heartbeat: -1,
	})
	eventuallyUp(t, c, 2)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				if s := call(t, c, "say", "x"); s != "good:x" {
					t.Errorf("%q", s)
				}
			}
		})
	}
	wg.Wait()
	var down bool
	for _, e := range c.Stats().Endpoints {
		if e.Addr == hung.addr {
			down = e.Opened > 0
		}
	}
	if !down {
		t.Errorf("the breaker of the hanging node never opened: %+v", c.Stats())
	}
}

// A connection over which nothing comes back any more is given up after some
// heartbeats, and the calls on it fail though their deadline is far.
func TestBlackHole(t *testing.T) {
	srv := newServer(t, nil)
	handleEcho(srv, "a")
	ln := listenFaulty(t, 0)
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	c := newClient(t, "test.Echo", motan.Static(ln.Addr().String()), &motan.ClientOptions{
		Timeout: time.Hour, Connections: 1, Heartbeat: 200 * time.Millisecond, Retries: -1,
	})
	call(t, c, "say", "x")
	eventually(t, "it is counted out", func() bool { return srv.Stats().InFlight == 0 })
	slow := motan.Go[string](t.Context(), c, "wait", "")
	eventually(t, "the call is being worked on", func() bool { return srv.Stats().InFlight == 1 })
	// A slow answer is no black hole: heartbeats are answered meanwhile.
	time.Sleep(time.Second)
	select {
	case <-slow.Done():
		_, err := slow.Wait()
		t.Fatalf("a slow call: %v", err)
	default:
	}
	ln.each(func(f *faultConn) { f.hung.Store(true) })
	_, err := slow.Wait()
	if e := wantCode(t, err, motan.CodeConnection); !strings.Contains(e.Message, "heartbeat") {
		t.Errorf("%v", err)
	}
	eventually(t, "a new connection works", func() bool {
		s, err := motan.Call[string](t.Context(), c, "say", "y")
		return err == nil && *s == "a:y"
	})
}

// Under Backup a slow first endpoint does not slow the call down.
func TestBackupRequest(t *testing.T) {
	var slow atomic.Bool
	first := startWireServer(t, func(conn net.Conn, f wireFrame) bool {
		if !slow.Load() || f.kind&wireHeartbeat != 0 {
			answerString(conn, f, "first")
		}
		return true
	})
	second := startWireServer(t, func(conn net.Conn, f wireFrame) bool {
		answerString(conn, f, "second")
		return true
	})
	c := newClient(t, "s", motan.Static(first.addr, second.addr), &motan.ClientOptions{
		HA: motan.Backup, Timeout: patience, BackupAfter: 5 * time.Millisecond, Idempotent: []string{"read"}, Heartbeat: -1,
	})
	eventuallyUp(t, c, 2)
	slow.Store(true)
	for range 8 {
		s, err := motan.Call[string](t.Context(), c, "read", "")
		if err != nil || *s != "second" {
			t.Fatalf("%v, %v", s, err)
		}
	}
	st := c.Stats()
	if st.Backups < 3 || st.Backups > 8 {
		t.Errorf("%d backups for 8 calls", st.Backups)
	}
	for _, e := range st.Endpoints {
		if e.InFlight != 0 {
			t.Errorf("%d calls of losers are still waiting at %s", e.InFlight, e.Addr)
		}
	}
	// 15 of 100 and some in reserve: then calls wait for their first endpoint.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := motan.Call[string](ctx, c, "change", ""); err == nil {
		if _, err := motan.Call[string](ctx, c, "change", ""); err == nil {
			t.Error("a method that must not be done twice got a backup")
		}
	}
}

// With all nodes failing, further tries stop when the budget is used up.
func TestRetryBudget(t *testing.T) {
	busy := answerException(`{"errcode":10002,"errmsg":"busy","errtype":1}`)
	a, b := startWireServer(t, busy), startWireServer(t, busy)
	c := newClient(t, "s", motan.Static(a.addr, b.addr), &motan.ClientOptions{Timeout: patience, RetryBudget: 0.1})
	eventuallyUp(t, c, 2)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 200 {
				_, err := motan.Call[string](t.Context(), c, "m", "")
				wantCodeIn(t, err, motan.CodeReject)
			}
		})
	}
	wg.Wait()
	st := c.Stats()
	if st.Retries < 1000 || st.Retries > 1000+st.Calls/10+10 || st.OverBudget == 0 {
		t.Errorf("%d calls, %d retries, %d over budget; want a tenth and 1000", st.Calls, st.Retries, st.OverBudget)
	}
}

// The span of a call tells what went wrong before it went well.
func TestSpanTellsOfRetries(t *testing.T) {
	w, err := watchman.New("retries", &watchman.Options{Sample: 1})
	if err != nil {
		t.Fatal(err)
	}
	busy := startWireServer(t, answerException(`{"errcode":10002,"errmsg":"busy today","errtype":1}`))
	good := startNode(t, "good", nil)
	c := newClient(t, "test.Echo", motan.Static(busy.addr, good.addr), &motan.ClientOptions{Timeout: patience, Watchman: w, Retries: 3})
	eventuallyUp(t, c, 2)
	ctx, root := w.Operation(watchman.Internal, "test").Start(t.Context())
	for range 2 { // one of the two meets the busy one first
		if _, err := motan.Call[string](ctx, c, "say", "x"); err != nil {
			t.Fatal(err)
		}
	}
	root.End(nil)
	told := 0
	for _, s := range w.Trace(root.SpanContext().TraceID) {
		for _, a := range s.Attrs {
			if a.Key == "motan.retry" && strings.HasPrefix(a.Value, busy.addr+": ") && strings.Contains(a.Value, "busy today") && s.Error == "" {
				told++
			}
		}
	}
	if told == 0 || told > 2 {
		t.Errorf("%d spans tell of a retry", told)
	}
}

// Calls of HTTP services get their second chance too; what the losers do does not
// touch the answer.
func TestBackupOverHTTP(t *testing.T) {
	block := make(chan struct{})
	serve := func(name string, slow bool) string {
		srv := newServer(t, &motan.ServerOptions{Logger: quiet()})
		motan.Handle(srv, "s", "read", func(ctx context.Context, _ *string) (*string, error) {
			if slow {
				select {
				case <-block:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			return &name, nil
		})
		web := httptest.NewServer(srv.HTTPHandler())
		t.Cleanup(web.Close)
		return web.URL
	}
	defer close(block)
	pass := func(next motan.Invoker) motan.Invoker {
		return func(ctx context.Context, x *motan.Exchange) error {
			err := next(ctx, x)
			if s := x.Response.(*string); err == nil && (*s != "quick" || x.ResponseBytes != len(`"quick"`)) {
				t.Errorf("an interceptor saw %q, %d bytes", *s, x.ResponseBytes)
			}
			return err
		}
	}
	c := newClient(t, "s", motan.Static(serve("slow", true), serve("quick", false)), &motan.ClientOptions{
		HA: motan.Backup, Timeout: patience, BackupAfter: 5 * time.Millisecond, Idempotent: []string{"read"}, Interceptors: []motan.Interceptor{pass},
	})
	for range 6 {
		if s := call(t, c, "read", ""); s != "quick" {
			t.Fatalf("answered by %s", s)
		}
	}
	// A quick one that takes 5 ms on a busy machine gets a backup as well.
	if n := c.Stats().Backups; n < 3 {
		t.Errorf("%d backups for 6 calls, every other of which goes to the slow one first", n)
	}
}

// Whoever gives up while the first connection is being made can tell that from
// endpoints that are down.
func TestCallEndsBeforeTheFirstConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // nobody shakes hands
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, cfg := listenTLS(t)
	c := newClient(t, "s", motan.Static(ln.Addr().String()), &motan.ClientOptions{Timeout: patience, TLS: cfg})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = motan.Call[string](ctx, c, "m", "")
	if wantCode(t, err, motan.CodeNoEndpoint); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "not connected yet") {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = motan.Call[string](ctx, c, "m", "")
	if wantCode(t, err, motan.CodeNoEndpoint); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("too late: %v", err)
	}
}

// gated accepts nothing until its gate is closed.
type gated struct {
	net.Listener
	gate     chan struct{}
	accepted atomic.Int64
}

func (g *gated) Accept() (net.Conn, error) {
	<-g.gate
	conn, err := g.Listener.Accept()
	if err == nil {
		g.accepted.Add(1)
	}
	return conn, err
}

// The connection that a caller has given up is made for those who still wait for it.
func TestOthersGetWhatTheImpatientGaveUp(t *testing.T) {
	srv := newServer(t, nil)
	handleEcho(srv, "tls")
	ln, cfg := listenTLS(t)
	g := &gated{Listener: ln, gate: make(chan struct{})}
	go srv.Serve(g)
	t.Cleanup(func() { srv.Close() })
	c := newClient(t, "test.Echo", motan.Static(ln.Addr().String()), &motan.ClientOptions{Timeout: patience, Connections: 1, TLS: cfg})
	ctx, cancel := context.WithCancel(t.Context())
	first := motan.Go[string](ctx, c, "say", "x")
	eventually(t, "the first call waits", func() bool { return c.Stats().Calls == 1 && len(c.Stats().Endpoints) == 1 })
	second := motan.Go[string](t.Context(), c, "say", "x")
	eventually(t, "the second call waits", func() bool { return c.Stats().Calls == 2 })
	cancel()
	if _, err := first.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	close(g.gate)
	if _, err := second.Wait(); err != nil {
		t.Errorf("the second: %v", err)
	}
	if n := g.accepted.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
