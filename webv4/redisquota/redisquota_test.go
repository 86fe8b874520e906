package redisquota_test

import (
	"context"
	"crypto/rand"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/heddle-go/heddle/webv4"
	"github.com/heddle-go/heddle/webv4/redisquota"
	"github.com/heddle-go/heddle/webv4/webtest"
)

// client talks to a real Redis, with keys that no other test has.
func client(t testing.TB) (*redis.Client, *redisquota.Options) {
	t.Helper()
	addr := os.Getenv("HEDDLE_TEST_REDIS")
	if addr == "" {
		t.Skip("needs a Redis: redis-server --port 16379 --bind 127.0.0.1 --save '', then HEDDLE_TEST_REDIS=127.0.0.1:16379")
	}
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	return c, &redisquota.Options{Prefix: "test:" + rand.Text() + ":"}
}

func spend(t testing.TB, s *redisquota.Store, charges ...webv4.Charge) []webv4.Standing {
	t.Helper()
	list, err := s.Spend(context.Background(), charges)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSpend(t *testing.T) {
	c, o := client(t)
	s := redisquota.New(c, o)
	hour := webv4.Charge{Key: "u", Limit: 3, Window: time.Hour, Cost: 1}
	other := webv4.Charge{Key: "v", Limit: 2, Window: time.Hour, Cost: 1}
	for i := range 3 {
		if st := spend(t, s, hour)[0]; !st.OK || st.Remaining != 2-i || st.Reset <= time.Duration(i)*20*time.Minute || st.Reset > time.Duration(i+1)*20*time.Minute {
			t.Errorf("%d: %+v", i, st)
		}
	}
	if st := spend(t, s, hour)[0]; st.OK || st.Remaining != 0 || st.Retry <= 19*time.Minute || st.Retry > 20*time.Minute {
		t.Errorf("exhausted: %+v", st)
	}
	// All or nothing.
	if st := spend(t, s, other, hour); !st[0].OK || st[1].OK || st[0].Remaining != 2 {
		t.Errorf("%+v", st)
	}
	look := other
	look.Cost = 0
	for range 10 {
		if st := spend(t, s, look)[0]; !st.OK || st.Remaining != 2 || st.Reset != 0 {
			t.Errorf("looking: %+v", st)
		}
	}
	// A key lives as long as it says anything.
	ttl, err := c.PTTL(context.Background(), o.Prefix+"u").Result()
	if err != nil || ttl <= 0 || ttl > time.Hour+time.Second {
		t.Errorf("lives %v, %v", ttl, err)
	}
}

func TestLimitComesBack(t *testing.T) {
	c, o := client(t)
	s := redisquota.New(c, o)
	q := webv4.Charge{Key: "fast", Limit: 50, Window: time.Second, Cost: 1}
	for spend(t, s, q)[0].OK {
	}
	deadline := time.Now().Add(20 * time.Second)
	for !spend(t, s, q)[0].OK {
		if time.Now().After(deadline) {
			t.Fatal("nothing came back")
		}
		time.Sleep(time.Millisecond)
	}
}

// Processes that share a store allow a caller no more than one would.
func TestProcessesShare(t *testing.T) {
	c, o := client(t)
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		s := redisquota.New(c, o)
		wg.Go(func() {
			for range 100 {
				list, err := s.Spend(context.Background(), []webv4.Charge{{Key: "u", Limit: 150, Window: 24 * time.Hour, Cost: 1}, {Key: "total", Limit: 1000, Window: 24 * time.Hour, Cost: 1}})
				if err != nil {
					t.Error(err)
					return
				}
				if list[0].OK && list[1].OK {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if allowed.Load() != 150 {
		t.Errorf("%d calls allowed of 150", allowed.Load())
	}
}

type limited struct {
	_ struct{} `route:"GET /limited.json" quota:"ip=2/d"`
}

func TestInAnAPI(t *testing.T) {
	c, o := client(t)
	for _, n := range []int{0, 1} { // two processes
		a, err := webv4.New(&webv4.Options{QuotaStore: redisquota.New(c, o), QuotaTimeout: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		webv4.Handle(a, func(context.Context, *limited) (*webv4.RateLimitStatus, error) { return nil, nil })
		w := webtest.New(t, a)
		r := w.GET("/limited.json")
		r.OK(nil)
		if got, want := r.Header.Get("Ratelimit")[:9], []string{`"ip/d";r=`, `"ip/d";r=`}[n]; got != want {
			t.Errorf("RateLimit %s", got)
		}
		if n == 1 {
			w.GET("/limited.json").Fails(429, webv4.CodeIPLimit)
		}
	}
}

func BenchmarkSpend(b *testing.B) {
	c, o := client(b)
	s := redisquota.New(c, o)
	charges := []webv4.Charge{
		{Key: "u", Limit: 1e8, Window: time.Hour, Cost: 1}, {Key: "a", Limit: 1e8, Window: time.Hour, Cost: 1}, {Key: "i", Limit: 1e8, Window: time.Hour, Cost: 1},
	}
	b.ReportAllocs()
	for b.Loop() {
		spend(b, s, charges...)
	}
}
