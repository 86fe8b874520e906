package motan_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestServerAnswersFrames(t *testing.T) {
	n := startNode(t, "a", &motan.ServerOptions{Logger: quiet()})
	c := dialWire(t, n.addr)

	c.send(t, request(7, "test.Echo", "say", "Ray"))
	f := c.read(t)
	if f.kind != wireResponse || f.status != 0 || f.id != 7 || f.serialization != wireSimple || string(f.body) != string(simpleString("a:Ray")) || f.meta["M_pt"] == "" {
		t.Errorf("answer %+v", f)
	}
	// Java's first letter.
	c.send(t, request(8, "test.Echo", "Say", "Ray"))
	if f := c.read(t); f.status != 0 || f.id != 8 {
		t.Errorf("method Say: %+v", f)
	}
	for _, tc := range []struct {
		name string
		f    wireFrame
		want string
	}{
		{"missing service", request(1, "no.Such", "say", ""), `{"errcode":404,"errmsg":"provider not exist serviceKey=no.Such","errtype":1}`},
		{"missing method", request(1, "test.Echo", "noSuch", ""), `{"errcode":500,"errmsg":"method noSuch is not found in provider.","errtype":1}`},
		{"no method at all", wireFrame{id: 1, serialization: wireSimple, meta: map[string]string{"M_p": "test.Echo"}}, `{"errcode":500,"errmsg":"method  is not found in provider.","errtype":1}`},
		{"no metadata", wireFrame{id: 1, serialization: wireSimple}, `{"errcode":404,"errmsg":"provider not exist serviceKey=","errtype":1}`},
		{"framework call", wireFrame{id: 1, serialization: wireSimple, meta: map[string]string{"M_p": "com.example.Framework", "M_m": "x", "M_fws": "y"}},
			`{"errcode":501,"errmsg":"service not support","errtype":1}`},
	} {
		c.send(t, tc.f)
		f := c.read(t)
		if f.kind != wireResponse || f.status != 1 || f.id != 1 || len(f.body) != 0 || f.meta["M_e"] != tc.want {
			t.Errorf("%s: %+v", tc.name, f)
		}
	}
	for name, f := range map[string]wireFrame{
		"unknown serialization":  {id: 2, serialization: 31, meta: map[string]string{"M_p": "test.Echo", "M_m": "say"}, body: simpleString("x")},
		"a body cut short":       {id: 2, serialization: wireSimple, meta: map[string]string{"M_p": "test.Echo", "M_m": "say"}, body: []byte{1, 0, 0, 0, 9, 'x'}},
		"a body of another type": {id: 2, serialization: wireSimple, meta: map[string]string{"M_p": "test.Echo", "M_m": "say"}, body: []byte{5, 1}},
		"no gzip":                {id: 2, kind: wireGzip, serialization: wireSimple, meta: map[string]string{"M_p": "test.Echo", "M_m": "say"}, body: simpleString("x")},
	} {
		c.send(t, f)
		if f := c.read(t); f.status != 1 || f.id != 2 || !strings.Contains(f.meta["M_e"], `"errcode":500,"errmsg":"argument: `) {
			t.Errorf("%s: %+v", name, f)
		}
	}
	// Heartbeats as motan-go and Java send them.
	for _, b := range [][]byte{{wireHeartbeat | 2, wireSimple}, {wireHeartbeat, 1}} {
		c.send(t, wireFrame{kind: b[0], serialization: b[1], id: 99})
		if f := c.read(t); f.kind&(wireHeartbeat|wireResponse) != wireHeartbeat|wireResponse || f.id != 99 || len(f.body) != 0 || len(f.meta) != 0 {
			t.Errorf("heartbeat %x: %+v", b, f)
		}
	}
	// An answer from a client is nobody's business, and one-way calls get none,
	// not even when they fail.
	c.send(t, wireFrame{kind: wireResponse, id: 5, serialization: wireSimple})
	for _, method := range []string{"say", "noSuch"} {
		one := request(6, "test.Echo", method, "x")
		one.kind = wireOneWay
		c.send(t, one)
	}
	c.send(t, request(9, "test.Echo", "say", "last"))
	if f := c.read(t); f.id != 9 {
		t.Errorf("answered %+v", f)
	}
	eventually(t, "all calls are counted", func() bool {
		s := n.srv.Stats()
		return s.Malformed == 0 && s.Calls == 14 && s.Errors == 10 && s.InFlight == 0
	})
}

func TestServerAnswersOneWayIfTold(t *testing.T) {
	n := startNode(t, "a", &motan.ServerOptions{AnswerOneWay: true})
	c := dialWire(t, n.addr)
	for _, method := range []string{"say", "noSuch"} {
		f := request(6, "test.Echo", method, "x")
		f.kind = wireOneWay
		c.send(t, f)
		if f := c.read(t); f.id != 6 || f.kind != wireResponse {
			t.Errorf("%s: %+v", method, f)
		}
	}
	// Our client drops such answers.
	cl := newClient(t, "test.Echo", motan.Static(n.addr), &motan.ClientOptions{Timeout: patience})
	for range 10 {
		if err := motan.Send(t.Context(), cl, "say", "x"); err != nil {
			t.Fatal(err)
		}
	}
	if s := call(t, cl, "say", "y"); s != "a:y" {
		t.Errorf("%q", s)
	}
}

// What is no Motan2 ends its own connection and nothing else.
func TestServerRefusesBadFrames(t *testing.T) {
	n := startNode(t, "a", &motan.ServerOptions{Logger: quiet(), MaxFrame: 1000})
	good := dialWire(t, n.addr)
	motan1 := append([]byte{0xf1, 0xf1, 0, 0}, make([]byte, 40)...)
	huge := request(3, "test.Echo", "say", "").bytes()
	copy(huge[13:], []byte{0x7f, 0xff, 0xff, 0xff})
	for name, tc := range map[string]struct {
		send    []byte
		explain string // what the server says before it hangs up
	}{
		"http":          {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), ""},
		"short garbage": {[]byte("x"), ""},
		"Motan1":        {motan1, "Motan1"},
		"version 9":     {append([]byte{0xf1, 0xf1, 0, 9 << 3}, make([]byte, 40)...), ""},
		"huge metadata": {huge, "larger than allowed"},
		"oversize body": {request(3, "test.Echo", "say", strings.Repeat("x", 1001)).bytes(), "larger than allowed"},
		"half a frame":  {request(3, "test.Echo", "say", "xxxx").bytes()[:50], ""},
		"half a header": {request(3, "test.Echo", "say", "xxxx").bytes()[:9], ""},
		// The answer to the good one may be lost with the connection.
		"good, then junk": {append(request(3, "test.Echo", "say", "x").bytes(), "junkjunkjunkjunkjunk"...), ""},
	} {
		before := n.srv.Stats().Malformed
		c := dialWire(t, n.addr)
		if _, err := c.Write(tc.send); err != nil {
			t.Fatal(err)
		}
		c.Conn.(*net.TCPConn).CloseWrite()
		rest, err := io.ReadAll(c.r)
		if err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: the server did not hang up: %v", name, err)
		}
		// A reset may have overtaken the explanation.
		if err == nil && !strings.Contains(string(rest), tc.explain) {
			t.Errorf("%s: the server said %q", name, rest)
		}
		eventually(t, name+" is counted", func() bool { return n.srv.Stats().Malformed == before+1 })
		good.send(t, request(1, "test.Echo", "say", "still"))
		if f := good.read(t); f.status != 0 {
			t.Errorf("after %s: %+v", name, f)
		}
	}
	eventually(t, "only the good connection is left", func() bool { return n.srv.Stats().Conns == 1 })
}

func TestServerTakesFramesInPieces(t *testing.T) {
	n := startNode(t, "a", nil)
	c := dialWire(t, n.addr)
	b := request(7, "test.Echo", "say", "piece by piece").bytes()
	for i := range b {
		if _, err := c.Write(b[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if f := c.read(t); string(f.body) != string(simpleString("a:piece by piece")) {
		t.Errorf("%+v", f)
	}
	// And many at once.
	var all []byte
	for i := range 500 {
		all = append(all, request(uint64(i+1), "test.Echo", "say", fmt.Sprint(i)).bytes()...)
	}
	go c.Write(all)
	seen := map[uint64]bool{}
	for range 500 {
		f := c.read(t)
		if want := simpleString(fmt.Sprint("a:", f.id-1)); string(f.body) != string(want) || seen[f.id] {
			t.Errorf("%+v", f)
		}
		seen[f.id] = true
	}
}

func TestServerProtectsItself(t *testing.T) {
	release := make(chan struct{})
	serve := func(opts *motan.ServerOptions) (*motan.Server, *motan.Client) {
		srv := newServer(t, opts)
		for _, m := range []string{"a", "b"} {
			motan.Handle(srv, "s", m, func(context.Context, *string) (*string, error) {
				<-release
				return nil, nil
			})
		}
		motan.Handle(srv, "s", "quick", func(_ context.Context, s *string) (*string, error) { return s, nil })
		return srv, newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Timeout: patience, Retries: -1})
	}
	fill := func(srv *motan.Server, c *motan.Client, method string, n int) (wait func()) {
		var fs []*motan.Future[string]
		before := srv.Stats().InFlight
		for range n {
			fs = append(fs, motan.Go[string](t.Context(), c, method, ""))
		}
		eventually(t, "the calls are being worked on", func() bool { return srv.Stats().InFlight == before+int64(n) })
		return func() {
			for _, f := range fs {
				if _, err := f.Wait(); err != nil {
					t.Errorf("a call that was let in: %v", err)
				}
			}
		}
	}
	refused := func(c *motan.Client, method, text string) {
		t.Helper()
		_, err := motan.Call[string](t.Context(), c, method, "")
		if e := wantCode(t, err, motan.CodeReject); !strings.Contains(e.Message, text) || !motan.Retryable(err) {
			t.Errorf("%v, retryable %v", err, motan.Retryable(err))
		}
	}
	total, c1 := serve(&motan.ServerOptions{MaxInFlight: 10, MaxPerMethod: -1})
	perMethod, c2 := serve(&motan.ServerOptions{MaxPerMethod: 3})
	fair, c3 := serve(&motan.ServerOptions{MaxInFlight: 40})
	w1 := fill(total, c1, "a", 10)
	refused(c1, "quick", "more than 10 calls in flight")
	w2 := fill(perMethod, c2, "a", 3)
	refused(c2, "a", "more than 3 calls of s/a")
	w3 := fill(perMethod, c2, "b", 3)
	call(t, c2, "quick", "")
	w4 := fill(fair, c3, "a", 30)
	refused(c3, "a", "more than half of them of s/a")
	w5 := fill(fair, c3, "b", 9)
	close(release)
	for _, wait := range []func(){w1, w2, w3, w4, w5} {
		wait()
	}
	// A call counts as in flight until its answer has been sent, and a moment longer.
	eventually(t, "nothing is in flight", func() bool { return total.Stats().InFlight == 0 })
	call(t, c1, "quick", "")
	if s := total.Stats(); s.Rejected != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestServerRates(t *testing.T) {
	w, err := watchman.New("x", nil)
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(t, &motan.ServerOptions{Watchman: w, Rates: map[string]motan.Rate{
		"s/a": {PerSecond: 1e-9, Burst: 3}, "s": {PerSecond: 1e-9, Burst: 8}, "t": {PerSecond: 1e9},
	}})
	for _, name := range []string{"a", "b"} {
		motan.Handle(srv, "s", name, func(_ context.Context, s *string) (*string, error) { return s, nil })
	}
	motan.Handle(srv, "t", "c", func(_ context.Context, s *string) (*string, error) { return s, nil })
	addr := startServer(t, srv)
	c := newClient(t, "s", motan.Static(addr), &motan.ClientOptions{Retries: -1, Timeout: patience})
	ok := map[string]int{}
	for _, m := range []string{"a", "b"} {
		for range 6 {
			_, err := motan.Call[string](t.Context(), c, m, "")
			if err == nil {
				ok[m]++
			} else {
				wantCode(t, err, motan.CodeReject)
			}
		}
	}
	if ok["a"] != 3 || ok["b"] != 2 {
		t.Errorf("%v calls passed, want 3 of a and the 2 that 6 calls of a leave of 8", ok)
	}
	// A switch does the same by hand.
	other := newClient(t, "t", motan.Static(addr), &motan.ClientOptions{Retries: -1, Timeout: patience})
	for _, name := range []string{"t/c", "t"} {
		call(t, other, "c", "")
		if err := w.SetSwitch(name, true, "test", "because"); err != nil {
			t.Fatal(err)
		}
		_, err := motan.Call[string](t.Context(), other, "c", "")
		if e := wantCode(t, err, motan.CodeReject); !strings.Contains(e.Message, "switched off") {
			t.Error(err)
		}
		if err := w.SetSwitch(name, false, "test", "enough"); err != nil {
			t.Fatal(err)
		}
	}
	call(t, other, "c", "")
}

func TestServerWantsToken(t *testing.T) {
	n := startNode(t, "a", &motan.ServerOptions{Tokens: []string{"old", "new"}})
	for token, ok := range map[string]bool{"": false, "new": true, "old": true, "ne": false, "newer": false} {
		c := newClient(t, "test.Echo", motan.Static(n.addr), &motan.ClientOptions{Token: token, Timeout: patience})
		_, err := motan.Call[string](t.Context(), c, "say", "")
		if (err == nil) != ok {
			t.Errorf("token %q: %v", token, err)
		}
		if !ok {
			wantCode(t, err, motan.CodeUnauthorized)
		}
	}
}

// listenTLS returns a listener that wants a certificate, and what a client needs.
func listenTLS(t testing.TB) (net.Listener, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	pair := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
}

func TestMutualTLS(t *testing.T) {
	srv := newServer(t, nil)
	handleEcho(srv, "tls")
	ln, cfg := listenTLS(t)
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	c := newClient(t, "test.Echo", motan.Static(ln.Addr().String()), &motan.ClientOptions{Timeout: patience, TLS: cfg})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				if s := call(t, c, "say", "x"); s != "tls:x" {
					t.Errorf("%q", s)
				}
			}
		})
	}
	wg.Wait()
	for name, cfg := range map[string]*tls.Config{"no certificate": {RootCAs: cfg.RootCAs}, "no TLS": nil} {
		c := newClient(t, "test.Echo", motan.Static(ln.Addr().String()), &motan.ClientOptions{Timeout: 100 * time.Millisecond, TLS: cfg})
		if _, err := motan.Call[string](t.Context(), c, "say", ""); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestServerBoundsConnections(t *testing.T) {
	n := startNode(t, "a", &motan.ServerOptions{MaxConns: 2, IdleTimeout: 2 * time.Second})
	a, b := dialWire(t, n.addr), dialWire(t, n.addr)
	for _, c := range []*wireConn{a, b} {
		c.send(t, request(1, "test.Echo", "say", ""))
		c.read(t)
	}
	third := dialWire(t, n.addr)
	if _, err := readWire(third.r); err == nil {
		t.Error("a third connection was answered")
	}
	if s := n.srv.Stats(); s.Refused != 1 || s.Conns != 2 || s.Accepted != 2 {
		t.Errorf("stats %+v", s)
	}
	eventually(t, "idle connections are closed", func() bool { return n.srv.Stats().Conns == 0 })
}

// A client that asks and never reads blocks nobody, and loses its connection in
// the end.
func TestServerSurvivesClientThatDoesNotRead(t *testing.T) {
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "blow", func(context.Context, *string) (*[]byte, error) {
		b := make([]byte, 1<<20)
		return &b, nil
	})
	addr := startServer(t, srv)
	deaf := dialWire(t, addr)
	for i := range 50 {
		deaf.send(t, request(uint64(i+1), "s", "blow", ""))
	}
	c := newClient(t, "s", motan.Static(addr), &motan.ClientOptions{Timeout: patience})
	for range 10 {
		if b, err := motan.Call[[]byte](t.Context(), c, "blow", ""); err != nil || len(*b) != 1<<20 {
			t.Fatal(err)
		}
	}
	deaf.Close()
	eventually(t, "the deaf one's calls end", func() bool { return srv.Stats().InFlight == 0 })
}

// slowToAdmit is a Limiter that lets time pass before each call may begin.
type slowToAdmit time.Duration

func (d slowToAdmit) Acquire() error             { time.Sleep(time.Duration(d)); return nil }
func (slowToAdmit) Release(time.Duration, error) {}

// Nobody waits any more for a call whose time ran out before it was its turn.
func TestExpiredCallsAreNotBegun(t *testing.T) {
	srv := newServer(t, &motan.ServerOptions{Limiter: slowToAdmit(20 * time.Millisecond)})
	var begun atomic.Int64
	motan.Handle(srv, "s", "m", func(context.Context, *string) (*string, error) {
		begun.Add(1)
		return nil, nil
	})
	c := dialWire(t, startServer(t, srv))
	id := uint64(0)
	ask := func(timeout string) wireFrame {
		t.Helper()
		id++
		f := request(id, "s", "m", "")
		f.meta["M_tmo"] = timeout
		c.send(t, f)
		answer := c.read(t)
		if answer.id != id {
			t.Fatalf("answer %d to request %d", answer.id, id)
		}
		return answer
	}
	for n := range int64(3) {
		// The time begins when the frame has been read.
		if f := ask("5"); f.status != 1 || !strings.Contains(f.meta["M_e"], `"errcode":10003`) || !strings.Contains(f.meta["M_e"], "before the call began") {
			t.Errorf("5 ms, of which 20 passed: %+v, want a timeout", f)
		}
		if begun.Load() != 0 || srv.Stats().Expired != uint64(n+1) {
			t.Errorf("%d calls begun, %d expired, want 0 and %d", begun.Load(), srv.Stats().Expired, n+1)
		}
	}
	for i, timeout := range []string{"600000", "0", "nonsense", "-1", "99999999999999999999"} {
		if f := ask(timeout); f.status != 0 || begun.Load() != int64(i+1) {
			t.Errorf("timeout %q: %+v after %d calls begun: want it begun", timeout, f, begun.Load())
		}
	}
	// One-way calls are dropped without a word.
	f := request(100, "s", "m", "")
	f.kind, f.meta["M_tmo"] = wireOneWay, "5"
	c.send(t, f)
	if ask("0"); begun.Load() != 6 || srv.Stats().Expired != 4 {
		t.Errorf("%d calls begun, %d expired, want 6 and 4", begun.Load(), srv.Stats().Expired)
	}
}

func TestHandlePanicsOnProgrammerErrors(t *testing.T) {
	echo := func(_ context.Context, s *string) (*string, error) { return s, nil }
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "m", echo)
	serving := newServer(t, nil)
	motan.Handle(serving, "s", "m", echo)
	addr := startServer(t, serving)
	c := newClient(t, "s", motan.Static(addr), &motan.ClientOptions{Timeout: patience})
	call(t, c, "m", "")
	for name, tc := range map[string]struct {
		f    func()
		text string
	}{
		"twice":         {func() { motan.Handle(srv, "s", "m", echo) }, "registered twice"},
		"no service":    {func() { motan.Handle(srv, "", "m", echo) }, "want a service and a method"},
		"no method":     {func() { motan.Handle(srv, "s", "", echo) }, "want a service and a method"},
		"no function":   {func() { motan.Handle[string, string](srv, "s", "x", nil) }, "no function"},
		"while serving": {func() { motan.Handle(serving, "s", "x", echo) }, "is serving"},
		"a channel": {func() {
			motan.Handle(srv, "s", "x", func(context.Context, *chan int) (*string, error) { return nil, nil })
		}, "not supported"},
		"no such provider": {func() { srv.Register("p", struct{}{}) }, "no method that can be called"},
		"provider twice":   {func() { srv.Register("s", lowerM{}) }, "registered twice"},
	} {
		func() {
			defer func() {
				if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), tc.text) {
					t.Errorf("%s: panic %v, want %q", name, p, tc.text)
				}
			}()
			tc.f()
		}()
	}
}

type lowerM struct{}

func (lowerM) M(context.Context) error { return nil }

type provider struct{ calls atomic.Int64 }

func (p *provider) Hello(_ context.Context, name string) (string, error) { return "hello " + name, nil }
func (p *provider) Birthday(_ context.Context, q *person) (*person, error) {
	if q.Age < 0 {
		return nil, &motan.Error{Code: 400, Type: motan.Business, Message: "not born"}
	}
	q.Age++
	return q, nil
}
func (p *provider) Join(_ context.Context, a string, b int64, c []byte, d bool, e float64, f []string) (string, error) {
	return fmt.Sprintf("%s|%d|%x|%t|%g|%s", a, b, c, d, e, strings.Join(f, ",")), nil
}
func (p *provider) Ping(context.Context) error                           { p.calls.Add(1); return nil }
func (p *provider) Nothing(_ context.Context, _ string) (*person, error) { return nil, nil }
func (p *provider) NotOurs(string) string                                { return "" }

func TestRegisteredProvider(t *testing.T) {
	srv := newServer(t, nil)
	p := &provider{}
	srv.Register("p", p)
	c := newClient(t, "p", motan.Static(startServer(t, srv)), &motan.ClientOptions{Timeout: patience})
	for _, method := range []string{"hello", "Hello"} {
		if s := call(t, c, method, "Ray"); s != "hello Ray" {
			t.Errorf("%s: %q", method, s)
		}
	}
	got, err := motan.Call[person](t.Context(), c, "birthday", &person{Name: "Ray", Age: 41})
	if err != nil || got.Age != 42 {
		t.Errorf("birthday: %+v, %v", got, err)
	}
	_, err = motan.Call[person](t.Context(), c, "birthday", &person{Age: -1})
	wantCode(t, err, 400)
	s, err := motan.Call[string](t.Context(), c, "join", motan.Args{"a", int64(-300), []byte{0xde, 0xad}, true, 1.5, []string{"x", "yz"}})
	if err != nil || *s != "a|-300|dead|true|1.5|x,yz" {
		t.Errorf("join: %v, %v", s, err)
	}
	if _, err := motan.Call[string](t.Context(), c, "ping", nil); err != nil || p.calls.Load() != 1 {
		t.Errorf("ping: %v, %d calls", err, p.calls.Load())
	}
	if q, err := motan.Call[person](t.Context(), c, "nothing", ""); err != nil || q.Name != "" {
		t.Errorf("nothing: %+v, %v", q, err)
	}
	for name, args := range map[string]any{"too few": motan.Args{"a"}, "too many": motan.Args{"a", int64(1), []byte{}, true, 1.5, []string{}, 7}, "another type": motan.Args{1, 2, 3, 4, 5, 6}} {
		_, err := motan.Call[string](t.Context(), c, "join", args)
		if e := wantCode(t, err, motan.CodeInternal); !strings.Contains(e.Message, "argument") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = motan.Call[string](t.Context(), c, "notOurs", "")
	wantCode(t, err, motan.CodeInternal)
}

func TestInterceptors(t *testing.T) {
	var mu sync.Mutex
	var log []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		log = append(log, fmt.Sprintf(format, args...))
	}
	named := func(name string) motan.Interceptor {
		return func(next motan.Invoker) motan.Invoker {
			return func(ctx context.Context, x *motan.Exchange) error {
				if s, ok := x.Request.(*string); ok {
					note("%s before %s/%s(%s)", name, x.Service, x.Method, *s)
				}
				err := next(ctx, x)
				if s, ok := x.Response.(*string); ok && err == nil {
					note("%s after %s", name, *s)
				} else {
					note("%s after %v", name, err)
				}
				if x.Peer == "" || x.RequestBytes == 0 {
					note("%s: peer %q, %d bytes", name, x.Peer, x.RequestBytes)
				}
				return err
			}
		}
	}
	srv := newServer(t, &motan.ServerOptions{Interceptors: []motan.Interceptor{named("s1"), named("s2"), func(next motan.Invoker) motan.Invoker {
		return func(ctx context.Context, x *motan.Exchange) error {
			if s, ok := x.Request.(*string); ok && *s == "wrong" {
				x.Request = 17
			}
			return next(ctx, x)
		}
	}}})
	handleEcho(srv, "a")
	c := newClient(t, "test.Echo", motan.Static(startServer(t, srv)), &motan.ClientOptions{
		Timeout: patience,
		Interceptors: []motan.Interceptor{named("c1"), func(next motan.Invoker) motan.Invoker {
			return func(ctx context.Context, x *motan.Exchange) error {
				switch s, _ := x.Request.(*string); *s {
				case "cached":
					out := "from the interceptor"
					x.Response = &out
					return nil
				case "wrong type":
					x.Response = 17
					return nil
				case "twice":
					if err := next(ctx, x); err != nil {
						return err
					}
				case "no":
					return &motan.Error{Code: 1, Type: motan.Business, Message: "not today"}
				}
				return next(ctx, x)
			}
		}},
	})
	if s := call(t, c, "say", "x"); s != "a:x" {
		t.Errorf("%q", s)
	}
	want := "c1 before test.Echo/say(x); s1 before test.Echo/say(x); s2 before test.Echo/say(x); s2 after a:x; s1 after a:x; c1 after a:x"
	if got := strings.Join(log, "; "); got != want {
		t.Errorf("order:\n%s\nwant\n%s", got, want)
	}
	if s := call(t, c, "say", "cached"); s != "from the interceptor" {
		t.Errorf("%q", s)
	}
	if s := call(t, c, "say", "twice"); s != "a:twice" {
		t.Errorf("%q", s)
	}
	arg := "no"
	_, err := motan.Call[string](t.Context(), c, "say", &arg)
	wantCode(t, err, 1)
	for _, arg := range []string{"wrong type", "wrong"} {
		_, err := motan.Call[string](t.Context(), c, "say", &arg)
		if e := wantCode(t, err, motan.CodeInternal); !strings.Contains(e.Message, "an interceptor") {
			t.Errorf("%s: %v", arg, err)
		}
	}
}
