package queue_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/heddle-go/heddle/mcq"
)

// dialGomemcache serves a new broker and returns a gomemcache client of it. One
// client has one server: gomemcache spreads whole keys over its servers, and so
// would send q/lease=30 and q/ack=7 to different ones.
func dialGomemcache(t *testing.T, opts *mcq.ServerOptions) *memcache.Client {
	t.Helper()
	_, addr := serveBroker(t, nil, opts)
	c := memcache.New(addr)
	c.Timeout = patience // its default is half a second
	t.Cleanup(func() { c.Close() })
	return c
}

func mustSet(t *testing.T, c *memcache.Client, key string, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := c.Set(&memcache.Item{Key: key, Value: []byte(v)}); err != nil {
			t.Fatalf("Set %s: %v", key, err)
		}
	}
}

// mustGet gets one message of key and checks its body.
func mustGet(t *testing.T, c *memcache.Client, key, want string) *memcache.Item {
	t.Helper()
	it, err := c.Get(key)
	if err != nil {
		t.Fatalf("Get %s: %v, want %q", key, err, want)
	}
	if it.Key != key || string(it.Value) != want {
		t.Fatalf("Get %s: key %q, value %q, want %q", key, it.Key, it.Value, want)
	}
	return it
}

func mustMiss(t *testing.T, c *memcache.Client, key string) {
	t.Helper()
	if it, err := c.Get(key); err != memcache.ErrCacheMiss {
		t.Fatalf("Get %s: %v, %v, want a miss", key, it, err)
	}
}

func TestGomemcacheQueue(t *testing.T) {
	c := dialGomemcache(t, nil)
	if err := c.Ping(); err != nil {
		t.Fatal(err)
	}
	mustMiss(t, c, "q")
	mustSet(t, c, "q", "one", "two", "")
	if err := c.Set(&memcache.Item{Key: "q", Value: []byte("\r\nquit\r\n"), Flags: 1<<32 - 1}); err != nil {
		t.Fatal(err)
	}
	first := mustGet(t, c, "q", "one")
	second := mustGet(t, c, "q", "two")
	if first.CasID == 0 || second.CasID != first.CasID+1 {
		t.Errorf("ids %d, %d", first.CasID, second.CasID)
	}
	mustGet(t, c, "q", "")
	if last := mustGet(t, c, "q", "\r\nquit\r\n"); last.Flags != 1<<32-1 {
		t.Errorf("flags %d", last.Flags)
	}
	mustMiss(t, c, "q")

	mustSet(t, c, "q", "dropped", "dropped too")
	if err := c.Delete("q"); err != nil {
		t.Fatal(err)
	}
	mustMiss(t, c, "q")
	if err := c.Delete("q"); err != memcache.ErrCacheMiss {
		t.Errorf("Delete of no queue: %v", err)
	}
}

func TestGomemcacheGetMulti(t *testing.T) {
	c := dialGomemcache(t, nil)
	mustSet(t, c, "a", "a1", "a2")
	mustSet(t, c, "b", "b1")
	for _, want := range []map[string]string{{"a": "a1", "b": "b1"}, {"a": "a2"}, {}} {
		items, err := c.GetMulti([]string{"a", "nobody", "b"})
		if err != nil {
			t.Fatal(err)
		}
		if len(items) != len(want) {
			t.Fatalf("got %d items, want %v", len(items), want)
		}
		for key, value := range want {
			if string(items[key].Value) != value {
				t.Errorf("%s: %q, want %q", key, items[key].Value, value)
			}
		}
	}
}

func TestGomemcacheFlushAll(t *testing.T) {
	c := dialGomemcache(t, nil)
	mustSet(t, c, "q", "kept")
	if err := c.FlushAll(); err == nil || !strings.Contains(err.Error(), "not allowed") {
		t.Errorf("FlushAll without permission: %v", err)
	}
	mustGet(t, c, "q", "kept")

	c = dialGomemcache(t, &mcq.ServerOptions{AllowFlushAll: true})
	mustSet(t, c, "a", "gone")
	mustSet(t, c, "b", "gone")
	if err := c.FlushAll(); err != nil {
		t.Fatal(err)
	}
	mustMiss(t, c, "a")
	mustMiss(t, c, "b")
}

// A message is handed out, kept longer, given back, handed out again and
// acknowledged with the calls that every gomemcache has.
func TestGomemcacheLease(t *testing.T) {
	c := dialGomemcache(t, nil)
	mustSet(t, c, "q", "one", "two")
	one := mustGet(t, c, "q/lease=60", "one")
	two := mustGet(t, c, "q/lease=60", "two")
	mustMiss(t, c, "q/lease=60")
	if err := c.Touch(fmt.Sprintf("q/id=%d", one.CasID), 120); err != nil {
		t.Errorf("extend: %v", err)
	}
	if err := c.Delete(fmt.Sprintf("q/nack=%d", one.CasID)); err != nil {
		t.Errorf("nack: %v", err)
	}
	if again := mustGet(t, c, "q/lease=60", "one"); again.CasID != one.CasID {
		t.Errorf("it was %d, now it is %d", one.CasID, again.CasID)
	}
	both := fmt.Sprintf("q/ack=%d,%d", one.CasID, two.CasID)
	if err := c.Delete(both); err != nil {
		t.Errorf("ack: %v", err)
	}
	if err := c.Delete(both); err != memcache.ErrCacheMiss {
		t.Errorf("ack again: %v", err)
	}
	if err := c.Touch(fmt.Sprintf("q/id=%d", one.CasID), 120); err != memcache.ErrCacheMiss {
		t.Errorf("extend what was acknowledged: %v", err)
	}
	mustMiss(t, c, "q")
}

// A lease that runs out brings the message back; a blocking read waits for it.
func TestGomemcacheWait(t *testing.T) {
	c := dialGomemcache(t, nil)
	mustSet(t, c, "q", "slow")
	first := mustGet(t, c, "q/lease=1", "slow")
	again := mustGet(t, c, "q/lease=60/t=20000", "slow")
	if again.CasID != first.CasID {
		t.Errorf("it was %d, now it is %d", first.CasID, again.CasID)
	}

	type result struct {
		it  *memcache.Item
		err error
	}
	got := make(chan result, 1)
	go func() {
		it, err := c.Get("empty/t=20000")
		got <- result{it, err}
	}()
	mustSet(t, c, "empty", "at last")
	if r := <-got; r.err != nil || string(r.it.Value) != "at last" {
		t.Errorf("the blocking read got %v, %v", r.it, r.err)
	}
}

// What a queue cannot do is refused, the bodies of refused commands are not
// taken for commands, and the queue is as it was.
func TestGomemcacheRefused(t *testing.T) {
	c := dialGomemcache(t, nil)
	mustSet(t, c, "q", "kept")
	evil := &memcache.Item{Key: "q", Value: []byte("set q 0 0 4\r\nevil\r\ndelete q"), CasID: 1}
	for name, call := range map[string]func() error{
		"add":       func() error { return c.Add(evil) },
		"replace":   func() error { return c.Replace(evil) },
		"append":    func() error { return c.Append(evil) },
		"prepend":   func() error { return c.Prepend(evil) },
		"cas":       func() error { return c.CompareAndSwap(evil) },
		"increment": func() error { _, err := c.Increment("q", 1); return err },
		"too large": func() error { return c.Set(&memcache.Item{Key: "q", Value: make([]byte, 1<<20+1)}) },
		"bad name":  func() error { return c.Set(&memcache.Item{Key: "a+b~c", Value: []byte("x")}) },
	} {
		if err := call(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	mustGet(t, c, "q", "kept")
	mustMiss(t, c, "q")
}

// Many goroutines share a client: everything that was set is got exactly once.
func TestGomemcacheCrowd(t *testing.T) {
	const writers, readers, each = 8, 8, 200
	c := dialGomemcache(t, nil)
	c.MaxIdleConns = writers + readers
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := make(map[string]int)
	all := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == writers*each
	}
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := c.Set(&memcache.Item{Key: "q", Value: fmt.Appendf(nil, "%d-%d", w, i)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	end := time.Now().Add(patience)
	for range readers {
		wg.Go(func() {
			for !all() && time.Now().Before(end) {
				it, err := c.Get("q/lease=600/t=20")
				if err == memcache.ErrCacheMiss {
					continue
				}
				if err == nil {
					err = c.Delete(fmt.Sprintf("q/ack=%d", it.CasID))
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[string(it.Value)]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != writers*each {
		t.Errorf("got %d messages, want %d", len(seen), writers*each)
	}
	for body, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", body, n)
		}
	}
}
