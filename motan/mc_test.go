package motan_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

func TestMemcached(t *testing.T) {
	addr := os.Getenv("HEDDLE_TEST_MEMCACHED")
	if addr == "" {
		t.Skip("HEDDLE_TEST_MEMCACHED is not set: start memcached and give its host:port")
	}
	var seen sync.Map
	see := func(next motan.Invoker) motan.Invoker {
		return func(ctx context.Context, x *motan.Exchange) error {
			err := next(ctx, x)
			seen.Store(x.Service+"/"+x.Method, x.Peer)
			return err
		}
	}
	mc, err := motan.NewMC("cache", motan.Static(addr), &motan.ClientOptions{Timeout: patience, Interceptors: []motan.Interceptor{see}})
	if err != nil {
		t.Fatal(err)
	}
	defer mc.Close()
	key := fmt.Sprintf("motan-test-%d", time.Now().UnixNano())
	if _, err := mc.Get(t.Context(), key); !errors.Is(err, motan.ErrNotStored) {
		t.Errorf("get of nothing: %v", err)
	}
	for _, value := range []string{"", "value", "with\r\nEND\r\nin it", strings.Repeat("x", 900<<10)} {
		if err := mc.Set(t.Context(), key, []byte(value), time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, err := mc.Get(t.Context(), key); err != nil || string(got) != value {
			t.Errorf("%d bytes came back as %d, %v", len(value), len(got), err)
		}
	}
	for range 2 {
		if err := mc.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if _, err := mc.Get(t.Context(), key); !errors.Is(err, motan.ErrNotStored) {
		t.Errorf("get after delete: %v", err)
	}
	if err := mc.Set(t.Context(), key, make([]byte, 5<<20), 0); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("more than memcached takes: %v", err)
	}
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			for i := range 20 {
				k, v := fmt.Sprintf("%s-%d", key, g), []byte(fmt.Sprint(i))
				if err := mc.Set(t.Context(), k, v, time.Minute); err != nil {
					t.Error(err)
				}
				if got, err := mc.Get(t.Context(), k); err != nil || string(got) != string(v) {
					t.Errorf("%s: %q, %v", k, got, err)
				}
			}
			mc.Delete(t.Context(), fmt.Sprintf("%s-%d", key, g))
		})
	}
	wg.Wait()
	for _, m := range []string{"get", "set", "delete"} {
		if peer, _ := seen.Load("cache/" + m); peer != addr {
			t.Errorf("%s: the interceptor saw %v", m, peer)
		}
	}
}

// answerLines is a server that answers each line with what is given.
func answerLines(t testing.TB, answer func(line string) string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				r := bufio.NewReader(conn)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					out := answer(strings.TrimSpace(line))
					if out == "" {
						return
					}
					if _, err := conn.Write([]byte(out)); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

func newMC(t testing.TB, opts *motan.ClientOptions, addrs ...string) *motan.MC {
	t.Helper()
	mc, err := motan.NewMC("cache", motan.Static(addrs...), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mc.Close() })
	return mc
}

func TestMemcachedBadServers(t *testing.T) {
	for name, answer := range map[string]string{
		"error":            "SERVER_ERROR out of memory\r\n",
		"another protocol": "HTTP/1.1 400 Bad Request\r\n",
		"another key":      "VALUE other 0 1\r\nx\r\nEND\r\n",
		"no length":        "VALUE k 0 many\r\n",
		"a huge length":    "VALUE k 0 99999999999\r\n",
		"too long":         "VALUE k 0 5\r\nxxxxxxxxx\r\nEND\r\n",
		"an endless line":  strings.Repeat("x", 10000) + "\r\n",
		"half":             "VALUE k 0 5\r\nxx",
		"nothing":          "",
	} {
		mc := newMC(t, &motan.ClientOptions{Timeout: 200 * time.Millisecond, Retries: -1}, answerLines(t, func(string) string { return answer }))
		if v, err := mc.Get(t.Context(), "k"); err == nil || errors.Is(err, motan.ErrNotStored) {
			t.Errorf("%s: %q, %v", name, v, err)
		}
	}
	mc := newMC(t, nil, "127.0.0.1:1")
	for _, key := range []string{"", "with space", "line\nfeed", strings.Repeat("k", 251)} {
		_, err := mc.Get(t.Context(), key)
		wantCode(t, err, motan.CodeEncode)
	}
	if err := mc.Set(t.Context(), "k", nil, -1); err == nil {
		t.Error("a negative expiry")
	}
}

// Another server is asked when one is gone; and a connection that the server has
// closed meanwhile costs nothing.
func TestMemcachedFailover(t *testing.T) {
	dead := answerLines(t, func(string) string { return "" })
	var asked atomic.Int64
	good := answerLines(t, func(line string) string {
		if asked.Add(1)%3 == 0 {
			return "" // it closes idle connections as it likes
		}
		return "VALUE k 0 4\r\ngood\r\nEND\r\n"
	})
	mc := newMC(t, &motan.ClientOptions{Timeout: patience, Balance: motan.RoundRobin, Retries: 3}, dead, good)
	for range 10 {
		if v, err := mc.Get(t.Context(), "k"); err != nil || string(v) != "good" {
			t.Errorf("%q, %v", v, err)
		}
	}
	if s := mc.Stats(); s.Retries == 0 || s.Errors != 0 {
		t.Errorf("stats %+v", s)
	}
}

// Gets and sets are operations like calls: traced, counted and seen by interceptors.
func TestMemcachedIsWatched(t *testing.T) {
	addr := answerLines(t, func(line string) string {
		if strings.HasPrefix(line, "get bad") {
			return "SERVER_ERROR out of memory\r\n"
		}
		return "VALUE k 0 4\r\ngood\r\nEND\r\n"
	})
	w := newWatchman(t, "client", nil)
	var seen []string
	mc := newMC(t, &motan.ClientOptions{Timeout: patience, Retries: -1, Watchman: w, Interceptors: []motan.Interceptor{
		func(next motan.Invoker) motan.Invoker {
			return func(ctx context.Context, x *motan.Exchange) error {
				err := next(ctx, x)
				seen = append(seen, fmt.Sprintf("%s/%s %s %d", x.Service, x.Method, x.Request.(*motan.MCItem).Key, x.ResponseBytes))
				if x.Peer != addr {
					t.Errorf("peer %s, want %s", x.Peer, addr)
				}
				return err
			}
		},
	}}, addr)
	ctx, span := w.Operation(watchman.Internal, "page").Start(t.Context())
	defer span.End(nil)
	if _, err := mc.Get(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := mc.Get(ctx, "bad"); err == nil {
		t.Error("no error")
	}
	if f := figures(w, watchman.Client, "cache/get"); f.Calls != 2 || f.Errors != 1 {
		t.Errorf("%+v", f)
	}
	if want := []string{"cache/get k 4", "cache/get bad 0"}; !slices.Equal(seen, want) {
		t.Errorf("interceptors saw %q, want %q", seen, want)
	}
}

// A server that cannot be reached takes no more than the time of the call, which
// counts against it.
func TestMemcachedThatCannotBeReached(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // nobody shakes hands
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, cfg := listenTLS(t)
	mc := newMC(t, &motan.ClientOptions{Timeout: 20 * time.Millisecond, Retries: -1, TLS: cfg}, ln.Addr().String())
	_, err = mc.Get(t.Context(), "k")
	if wantCode(t, err, motan.CodeTimeout); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cause %v", err)
	}
	eventually(t, "the server rests", func() bool {
		mc.Get(t.Context(), "k")
		return strings.Contains(mc.Stats().Endpoints[0].Down, "resting")
	})
	// Who gives up has nothing against it.
	mc = newMC(t, &motan.ClientOptions{Timeout: patience, Retries: -1, TLS: cfg}, ln.Addr().String())
	gaveUp := 0 // while the connection was being made
	eventually(t, "30 have given up", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		_, err := mc.Get(ctx, "k")
		var e *motan.Error
		if errors.As(err, &e) && e.Code == motan.CodeCancelled {
			gaveUp++
		}
		return gaveUp == 30
	})
	if e := mc.Stats().Endpoints[0]; e.Opened != 0 {
		t.Errorf("%+v", e)
	}
}

// A server that accepts and says nothing does not keep a get waiting.
func TestMemcachedBackup(t *testing.T) {
	addr := os.Getenv("HEDDLE_TEST_MEMCACHED")
	if addr == "" {
		t.Skip("HEDDLE_TEST_MEMCACHED is not set: start memcached and give its host:port")
	}
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	mc, err := motan.NewMC("cache", motan.Static(deaf.Addr().String(), addr), &motan.ClientOptions{
		HA: motan.Backup, Timeout: patience, BackupAfter: 5 * time.Millisecond, Balance: motan.RoundRobin,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer mc.Close()
	key := fmt.Sprintf("motan-backup-%d", time.Now().UnixNano())
	if err := mc.Set(t.Context(), key, []byte("value"), time.Minute); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if got, err := mc.Get(t.Context(), key); err != nil || string(got) != "value" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if n := mc.Stats().Backups; n < 3 {
		t.Errorf("%d backups, though every other call goes to the deaf one first", n)
	}
}

// Whatever the options say of other things, a key is found where it was put.
func TestMemcachedKeysStay(t *testing.T) {
	one, two := os.Getenv("HEDDLE_TEST_MEMCACHED"), os.Getenv("HEDDLE_TEST_MEMCACHED_MCQ")
	if one == "" || two == "" {
		t.Skip("HEDDLE_TEST_MEMCACHED or HEDDLE_TEST_MEMCACHED_MCQ is not set: start two memcacheds and give their host:port")
	}
	mc, err := motan.NewMC("cache", motan.Static(one, two), &motan.ClientOptions{Timeout: patience, HA: motan.Failfast})
	if err != nil {
		t.Fatal(err)
	}
	defer mc.Close()
	// Until both are connected, keys of one are put to the other.
	eventually(t, "every key is found where it was put", func() bool {
		for i := range 200 {
			key := fmt.Sprintf("%s-%d", t.Name(), i)
			if err := mc.Set(t.Context(), key, []byte("x"), time.Minute); err != nil {
				return false
			}
			if _, err := mc.Get(t.Context(), key); err != nil {
				return false
			}
			if err := mc.Delete(t.Context(), key); err != nil {
				return false
			}
		}
		return true
	})
}
