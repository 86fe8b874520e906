package mcq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

// patience is how long tests wait for what should happen at once.
const patience = 30 * time.Second

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

func TestMain(m *testing.M) {
	if role := os.Getenv(childEnv); role != "" {
		child(role)
		return
	}
	code := m.Run()
	if code == 0 {
		if leaked := ourGoroutines(); leaked != "" {
			fmt.Fprintf(os.Stderr, "goroutines left after the tests:\n%s\n", leaked)
			code = 1
		}
	}
	os.Exit(code)
}

// ourGoroutines returns the stacks of goroutines that run code of this package
// or of the store, once they have had time to end.
func ourGoroutines() (stacks string) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		buf := make([]byte, 4<<20)
		var ours []string
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:] {
			// A store whose disk failed may keep goroutines of its own.
			if strings.Contains(g, "heddle/mcq.") || strings.Contains(g, "heddle/internal/flush.") {
				ours = append(ours, g)
			}
		}
		if len(ours) == 0 || time.Now().After(end) {
			return strings.Join(ours, "\n\n")
		}
	}
}

func openBroker(t testing.TB, dir string, opts *mcq.Options) *mcq.Broker {
	t.Helper()
	b, err := mcq.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// memBroker opens a store in memory.
func memBroker(t testing.TB, opts *mcq.Options) *mcq.Broker {
	t.Helper()
	return openBroker(t, "store", mcq.WithFS(opts, vfs.NewMem()))
}

func queue(t testing.TB, b *mcq.Broker, name string) *mcq.Queue {
	t.Helper()
	q, err := b.Queue(name)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// startServer serves b on a loopback port until the test ends.
func startServer(t testing.TB, b *mcq.Broker, opts *mcq.ServerOptions) (*mcq.Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := mcq.NewServer(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, mcq.ErrClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return s, ln.Addr().String()
}

func serve(t testing.TB, b *mcq.Broker) string {
	t.Helper()
	_, addr := startServer(t, b, nil)
	return addr
}

func dial(t testing.TB, addr string) *mcq.Client {
	t.Helper()
	c, err := mcq.Dial(addr, &mcq.ClientOptions{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// putter is what Queue and RemoteQueue have in common for the tests.
type putter interface {
	Put(ctx context.Context, msgs ...mcq.Message) error
	Lease(ctx context.Context, limit int, o mcq.LeaseOptions) ([]mcq.Message, error)
	Take(ctx context.Context) (mcq.Message, error)
	Ack(ctx context.Context, ids ...uint64) error
	Nack(ctx context.Context, ids ...uint64) error
	Extend(ctx context.Context, id uint64, d time.Duration) error
}

func put(t testing.TB, q putter, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		if err := q.Put(t.Context(), mcq.Message{Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
}

func lease(t testing.TB, q putter, limit int, o mcq.LeaseOptions) []mcq.Message {
	t.Helper()
	msgs, err := q.Lease(t.Context(), limit, o)
	if err != nil {
		t.Fatal(err)
	}
	return msgs
}

func bodies(msgs []mcq.Message) []string {
	list := make([]string, len(msgs))
	for i := range msgs {
		list[i] = string(msgs[i].Body)
	}
	return list
}

func ids(msgs []mcq.Message) []uint64 {
	list := make([]uint64, len(msgs))
	for i := range msgs {
		list[i] = msgs[i].ID
	}
	return list
}

func expect(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

// waitFor waits until cond is true.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

// safeBuffer collects what a logger says.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *safeBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}
