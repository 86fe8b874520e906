package motan_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

// bomb is a gzip body that inflates to so many bytes, in serialization simple.
func bomb(t testing.TB, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	zw.Write(binary.BigEndian.AppendUint32([]byte{3}, uint32(size-5)))
	zw.Write(make([]byte, size-5))
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// logged is a log that tests can look into.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Many connections send gzip bombs and do not read what they are answered: the
// server does not hold more than it was told, closes them, and serves others.
func TestBombsOfDeafPeers(t *testing.T) {
	const frame, most, peers = 1 << 20, 16 << 20, 40
	log := &logged{}
	srv := newServer(t, &motan.ServerOptions{MaxFrame: frame, MaxBuffered: most, Logger: slog.New(slog.NewTextHandler(log, nil))})
	motan.Handle(srv, "s", "same", func(_ context.Context, b *[]byte) (*[]byte, error) { return b, nil })
	motan.Handle(srv, "s", "large", func(context.Context, *string) (*[]byte, error) {
		b := make([]byte, frame-100)
		return &b, nil
	})
	motan.Handle(srv, "s", "small", func(_ context.Context, s *string) (*string, error) { return s, nil })
	addr := startServer(t, srv)
	var highest atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Microsecond):
				highest.Store(max(highest.Load(), srv.Stats().Buffered))
			}
		}
	}()
	b := wireFrame{kind: wireGzip, serialization: wireSimple, meta: map[string]string{"M_p": "s", "M_m": "same"}, body: bomb(t, frame)}
	round := append(b.bytes(), request(2, "s", "large", "").bytes()...)
	var sending sync.WaitGroup
	var attack []*wireConn
	for range peers {
		deaf := dialWire(t, addr)
		deaf.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		attack = append(attack, deaf)
		sending.Go(func() {
			for err := error(nil); err == nil; { // until the server hangs up
				_, err = deaf.Write(round)
				time.Sleep(20 * time.Millisecond) // leave some of the processor to the others
			}
		})
	}
	c := newClient(t, "s", motan.Static(addr), &motan.ClientOptions{Timeout: patience, Retries: -1})
	for range 20 {
		call(t, c, "small", "x")
	}
	eventually(t, "deaf ones have lost their connections", func() bool {
		motan.Call[[]byte](t.Context(), c, "large", "") // the deaf ones may want no more by now
		return srv.Stats().Deaf > 0
	})
	for _, c := range attack {
		c.Close()
	}
	sending.Wait()
	eventually(t, "there is room again", func() bool {
		_, err := motan.Call[[]byte](t.Context(), c, "large", "")
		return err == nil
	})
	close(stop)
	<-stopped
	// What is being copied from one buffer to another counts in both.
	if h := highest.Load(); h > 2*most || h < most/2 {
		t.Errorf("%d bytes were held, of %d allowed", h, most)
	}
	if s := srv.Stats(); s.Rejected == 0 {
		t.Errorf("%+v", s)
	}
	if s := log.String(); !strings.Contains(s, "the peer does not read its answers") {
		t.Errorf("logged %q", s)
	}
	srv.Close()
	if n := srv.Stats().Buffered; n != 0 {
		t.Errorf("%d bytes are held by a closed server", n)
	}
}

// What comes slowly and never ends leaves room for what does.
func TestUnfinishedRequests(t *testing.T) {
	const frame, most = 1 << 20, 10 << 20
	w, err := watchman.New("x", nil)
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(t, &motan.ServerOptions{MaxFrame: frame, MaxBuffered: most, Watchman: w})
	motan.Handle(srv, "s", "same", func(_ context.Context, b *[]byte) (*[]byte, error) { return b, nil })
	motan.Handle(srv, "s", "small", func(_ context.Context, s *string) (*string, error) { return s, nil })
	addr := startServer(t, srv)
	large := request(1, "s", "same", strings.Repeat("x", frame-100))
	large.body[0] = 3 // bytes
	whole := large.bytes()
	var slow []*wireConn
	for i := range 7 {
		c := dialWire(t, addr)
		if _, err := c.Write(whole[:len(whole)-1]); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
		eventually(t, "the request is held", func() bool { return srv.Stats().Buffered > int64(i+1)*(frame-1000) })
	}
	for way, reg := range map[string]motan.Registry{"tcp": motan.Static(addr), "http": motan.Static(httpServer(t, srv))} {
		c := newClient(t, "s", reg, &motan.ClientOptions{Timeout: patience, Retries: -1, Connections: 1, Serializer: serializerOf(way)})
		text := make([]byte, frame/2)
		for range 3 {
			_, err := motan.Call[[]byte](t.Context(), c, "same", &text)
			if e := wantCode(t, err, motan.CodeReject); !errors.Is(err, watchman.ErrRejected) || !motan.Retryable(err) || !strings.Contains(e.Message, "no room") {
				t.Errorf("%s: %v", way, err)
			}
			call(t, c, "small", "x") // on the same connection
		}
		if s := c.Stats().Endpoints; way == "tcp" && len(s) != 1 {
			t.Errorf("%s: %+v", way, s)
		}
	}
	// So it is with metadata.
	c := dialWire(t, addr)
	meta := large
	meta.id, meta.meta, meta.body = 77, map[string]string{"M_p": "s", "M_m": "same", "long": strings.Repeat("y", frame-100)}, large.body
	c.send(t, meta)
	if f := c.read(t); f.id != 77 || !strings.Contains(f.meta["M_e"], `"errcode":10002`) {
		t.Errorf("%+v", f)
	}
	c.send(t, request(78, "s", "small", "x"))
	if f := c.read(t); f.id != 78 || f.status != 0 {
		t.Errorf("%+v", f)
	}
	if n := w.Operation(watchman.Server, "s/same").Stats().Rejected; n == 0 {
		t.Error("watchman knows of no rejected calls")
	}
	for _, c := range slow {
		c.Close()
	}
	eventually(t, "the room is free again", func() bool { return srv.Stats().Buffered == 0 })
	c2 := newClient(t, "s", motan.Static(addr), &motan.ClientOptions{Timeout: patience, Retries: -1})
	text := make([]byte, frame/2)
	if b, err := motan.Call[[]byte](t.Context(), c2, "same", &text); err != nil || len(*b) != len(text) {
		t.Error(err)
	}
	srv.Close()
	if n := srv.Stats().Buffered; n != 0 {
		t.Errorf("%d bytes are held by a closed server", n)
	}
}

func httpServer(t testing.TB, srv *motan.Server) string {
	t.Helper()
	web := httptest.NewServer(srv.HTTPHandler())
	t.Cleanup(web.Close)
	return web.URL
}

func serializerOf(way string) motan.Serializer {
	if way == "http" {
		return motan.JSON{}
	}
	return motan.Simple{}
}

// A method that has large answers is not called while there is no room for them;
// a call that has been executed is not said to have been refused.
func TestRoomForAnswers(t *testing.T) {
	const frame, most = 1 << 20, 10 << 20
	srv := newServer(t, &motan.ServerOptions{MaxFrame: frame, MaxBuffered: most})
	var executed atomic.Int64
	release, waiting := make(chan struct{}), make(chan struct{}, 8)
	motan.Handle(srv, "s", "large", func(_ context.Context, wait *bool) (*[]byte, error) {
		executed.Add(1)
		if *wait {
			waiting <- struct{}{}
			<-release
		}
		b := make([]byte, frame-100)
		return &b, nil
	})
	motan.Handle(srv, "s", "small", func(_ context.Context, s *string) (*string, error) { return s, nil })
	addr := startServer(t, srv)
	c := newClient(t, "s", motan.Static(addr), &motan.ClientOptions{Timeout: patience, Retries: -1})
	first := make(chan error, 8)
	for range cap(first) { // it is not known yet that the answers are large
		go func() {
			_, err := motan.Call[[]byte](t.Context(), c, "large", true)
			first <- err
		}()
	}
	for range cap(first) {
		<-waiting
	}
	// Peers that do not read fill the room.
	deaf := make([]*wireConn, 8)
	call := func(c *wireConn) {
		c.send(t, wireFrame{id: 1, serialization: wireSimple, meta: map[string]string{"M_p": "s", "M_m": "large"}, body: []byte{5, 0}})
	}
	for i := range deaf {
		deaf[i] = dialWire(t, addr)
		deaf[i].Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	}
	var err error
	eventually(t, "calls are refused", func() bool {
		for _, c := range deaf {
			call(c)
		}
		before := executed.Load()
		_, err = motan.Call[[]byte](t.Context(), c, "large", false)
		var e *motan.Error
		return errors.As(err, &e) && e.Code == motan.CodeReject && executed.Load()-before <= int64(len(deaf))
	})
	if !errors.Is(err, watchman.ErrRejected) || !strings.Contains(err.Error(), "no room") {
		t.Error(err)
	}
	close(release)
	for range cap(first) {
		if err := <-first; err != nil {
			if e := wantCode(t, err, motan.CodeInternal); motan.Retryable(err) || !strings.Contains(e.Message, "executed") {
				t.Errorf("%v", err)
			}
		}
	}
	if s, err := motan.Call[string](t.Context(), c, "small", "x"); err != nil || *s != "x" {
		t.Error(err)
	}
	for _, c := range deaf {
		c.Close()
	}
	srv.Close()
	if n := srv.Stats().Buffered; n != 0 {
		t.Errorf("%d bytes are held by a closed server", n)
	}
}

func TestMaxBufferedOptions(t *testing.T) {
	for _, tc := range []struct {
		o    motan.ServerOptions
		text string
	}{
		{motan.ServerOptions{}, ""}, {motan.ServerOptions{MaxBuffered: -1}, ""}, {motan.ServerOptions{MaxBuffered: 100 << 20}, ""},
		{motan.ServerOptions{MaxFrame: 1 << 26}, ""}, {motan.ServerOptions{MaxFrame: math.MaxInt / 2}, "MaxBuffered"},
		{motan.ServerOptions{MaxBuffered: 100<<20 - 1}, "MaxBuffered"}, {motan.ServerOptions{MaxFrame: 1000, MaxBuffered: 9999}, "MaxBuffered"},
	} {
		_, err := motan.NewServer(&tc.o)
		if (err == nil) != (tc.text == "") || err != nil && !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%+v: %v", tc.o, err)
		}
	}
}

// deadlines is an http.ResponseWriter that notes what time each write has.
type deadlines struct {
	*httptest.ResponseRecorder
	until  time.Time
	writes []time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.until = t
	return nil
}

func (d *deadlines) Write(p []byte) (int, error) {
	d.writes = append(d.writes, d.until)
	return d.ResponseRecorder.Write(p)
}

// A peer that does not read what it is answered over HTTP does not keep the room for
// ever, though nobody has told the HTTP server to end such connections.
func TestLargeAnswersOverHTTPHaveATime(t *testing.T) {
	const size = 1 << 20
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "m", func(_ context.Context, n *int) (*motan.Raw, error) {
		return &motan.Raw{Serialization: 2, Body: bytes.Repeat([]byte("x"), *n)}, nil
	})
	for _, tc := range []struct {
		server  *http.Server
		size    int
		bounded bool
	}{{&http.Server{}, size, true}, {&http.Server{}, 100, false}, {&http.Server{WriteTimeout: time.Hour}, size, false}} {
		r := httptest.NewRequest("POST", "/s/m", strings.NewReader(fmt.Sprint(tc.size)))
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		srv.HTTPHandler().ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, tc.server)))
		if w.Code != 200 || w.Body.Len() != tc.size || !w.until.IsZero() {
			t.Errorf("%+v: status %d, %d bytes, deadline %v", tc, w.Code, w.Body.Len(), w.until)
		}
		for _, until := range w.writes {
			if until.IsZero() == tc.bounded {
				t.Errorf("%+v: written with deadline %v", tc, until)
			}
		}
	}
	if n := srv.Stats().Buffered; n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}

// Metadata that takes many times its length when it is read is counted as what it
// takes, and is not kept for the next request.
func TestRoomForMetadata(t *testing.T) {
	const frame, most = 1 << 20, 64 << 20
	srv := newServer(t, &motan.ServerOptions{MaxFrame: frame, MaxBuffered: most})
	var held atomic.Int64
	release, waiting := make(chan struct{}), make(chan struct{}, 8)
	motan.Handle(srv, "s", "wait", func(ctx context.Context, s *string) (*string, error) {
		in, _ := motan.IncomingCall(ctx)
		if n := len(in.Metadata); n > 2 {
			held.Store(srv.Stats().Buffered)
			waiting <- struct{}{}
			<-release
		}
		return s, nil
	})
	addr := startServer(t, srv)
	// Half a mebibyte of pairs that are all but empty.
	pairs := strings.Repeat("\n", frame/2)
	many := request(1, "s", "wait", "x")
	many.meta[""] = pairs
	conns := make([]*wireConn, 8)
	accepted := 0
	for i := range conns {
		conns[i] = dialWire(t, addr)
		many.id = uint64(i)
		conns[i].send(t, many)
		// It is refused, or it waits.
		refused := make(chan wireFrame, 1)
		go func() {
			if f, err := readWire(conns[i].r); err == nil {
				refused <- f
			}
		}()
		select {
		case <-waiting:
			accepted++
		case f := <-refused:
			if !strings.Contains(f.meta["M_e"], "no room") {
				t.Errorf("%+v", f)
			}
		}
	}
	if n := held.Load(); accepted == 0 || accepted > 5 || n < int64(accepted)*8*frame {
		t.Errorf("%d calls wait, for which %d bytes are counted", accepted, n)
	}
	if s := srv.Stats(); s.Rejected != uint64(len(conns)-accepted) {
		t.Errorf("%+v", s)
	}
	close(release)
	eventually(t, "the room is free again", func() bool { return srv.Stats().Buffered == 0 })
}

// Calls whose answers a peer does not take do not keep the others out.
func TestDeafPeersGiveTheirSlotsBack(t *testing.T) {
	for what, opts := range map[string]*motan.ServerOptions{"MaxInFlight": {MaxInFlight: 4}, "MaxPerMethod": {MaxPerMethod: 4}} {
		srv := newServer(t, opts)
		motan.Handle(srv, "s", "large", func(context.Context, *string) (*[]byte, error) {
			b := make([]byte, 8<<20)
			return &b, nil
		})
		addr := startServer(t, srv)
		deaf, idle := dialWire(t, addr), dialWire(t, addr)
		deaf.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		idle.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		// One whose answer is written, however slowly, keeps nobody out.
		idle.send(t, request(1, "s", "large", ""))
		eventually(t, "its answer is written", func() bool { s := srv.Stats(); return s.Calls == 1 && s.InFlight == 0 })
		for id := range uint64(6) { // one is written, one gathers, four wait
			deaf.send(t, request(id, "s", "large", ""))
			eventually(t, "the call has been made", func() bool { return srv.Stats().Calls == id+2 })
		}
		eventually(t, "all slots are taken", func() bool { return srv.Stats().InFlight == 4 })
		c := dialWire(t, addr)
		eventually(t, "there is a slot", func() bool {
			c.send(t, request(9, "s", "large", ""))
			f := c.read(t)
			if f.status != 0 && !strings.Contains(f.meta["M_e"], `"errcode":10002`) {
				t.Fatalf("%+v", f)
			}
			return f.status == 0
		})
		if s := srv.Stats(); s.Deaf != 1 || s.Rejected == 0 {
			t.Errorf("%s: %+v", what, s)
		}
		srv.Close()
		if s := srv.Stats(); s.InFlight != 0 || s.Buffered != 0 {
			t.Errorf("%s: after Close %+v", what, s)
		}
	}
}
