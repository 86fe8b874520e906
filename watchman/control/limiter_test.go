package control_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/control"
)

// pool is a dependency with so many workers; further work waits in line.
type pool struct {
	workers chan struct{}
	service time.Duration
}

func (p *pool) serve() {
	p.workers <- struct{}{}
	time.Sleep(p.service)
	<-p.workers
}

// 800 calls a second on 50 workers of 50 ms, of which 40 go: at most 200 a
// second can go well. Without a limit none would, for the queue grows.
func TestLimiterFindsTheCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := control.NewLimiter("db", control.LimiterOptions{Target: 300 * time.Millisecond, Initial: 50, Highest: 200})
		if err != nil {
			t.Fatal(err)
		}
		p := &pool{workers: make(chan struct{}, 50), service: 50 * time.Millisecond}
		var mu sync.Mutex
		good := 0
		var wg sync.WaitGroup
		drive := func(d time.Duration) int {
			mu.Lock()
			good = 0
			mu.Unlock()
			for range d / (1250 * time.Microsecond) {
				if err := l.Acquire(); err == nil {
					wg.Go(func() {
						began := time.Now()
						p.serve()
						took := time.Since(began)
						l.Release(took, nil)
						if took <= 300*time.Millisecond {
							mu.Lock()
							good++
							mu.Unlock()
						}
					})
				} else if !errors.Is(err, watchman.ErrRejected) {
					t.Fatal(err)
				}
				time.Sleep(1250 * time.Microsecond)
			}
			mu.Lock()
			defer mu.Unlock()
			return good
		}
		if n := drive(5 * time.Second); n < 3900 {
			t.Errorf("healthy: %d of 4000 went well", n)
		}
		for range 40 {
			p.workers <- struct{}{}
		}
		if n := drive(40 * time.Second); n < 7400 {
			t.Errorf("with a fifth of the capacity %d of 8000 possible went well", n)
		}
		for range 40 {
			<-p.workers
		}
		drive(3 * time.Second)
		if n := drive(time.Second); n < 760 {
			t.Errorf("three seconds after: %d of 800 went well", n)
		}
		wg.Wait()
		if st := l.Stats(); st.Inflight != 0 || st.Refused == 0 || st.Admitted == 0 {
			t.Errorf("stats = %+v", st)
		}
	})
}

func TestLimiterCeiling(t *testing.T) {
	w, _ := watchman.New("s", nil)
	ceiling := w.Dial("db.ceiling", 100, 0, 100)
	l, err := control.NewLimiter("db", control.LimiterOptions{Target: time.Second, Initial: 10, Ceiling: ceiling})
	if err != nil {
		t.Fatal(err)
	}
	w.Apply(watchman.Change{Name: "db.ceiling", Value: 2, By: "ann"})
	for i := range 5 {
		if err := l.Acquire(); (err == nil) != (i < 2) {
			t.Errorf("%d: %v", i, err)
		}
	}
	_, err = control.NewLimiter("x", control.LimiterOptions{Initial: 5, Highest: 2, Window: -1})
	for _, want := range []string{"Target", "Highest 2", "Window"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want an error about %s", err, want)
		}
	}
}
