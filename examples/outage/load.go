package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/heddle-go/heddle/watchman/control"
)

// record is what a run was like, second by second.
type record struct {
	mu        sync.Mutex
	seconds   []second
	began     time.Time
	phases    []phase
	decisions []control.Decision
	late      time.Duration // how much later than due a request was sent, at most
}

// second is what became of the requests that were sent in it.
type second struct {
	full, copies, refused, failed int
	took                          []time.Duration // of those answered
}

func (r *record) note(sent time.Time, took time.Duration, status int, body string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := int(sent.Sub(r.began) / time.Second)
	for len(r.seconds) <= i {
		r.seconds = append(r.seconds, second{})
	}
	s := &r.seconds[i]
	switch {
	case status == http.StatusTooManyRequests:
		s.refused++
		return
	case status != http.StatusOK || took > timeLimit+50*time.Millisecond: // the client's own time counts too
		s.failed++
	case body == copied:
		s.copies++
	default:
		s.full++
	}
	s.took = append(s.took, took)
}

func (s *second) p99() time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	list := slices.Clone(s.took)
	slices.Sort(list)
	return list[len(list)*99/100]
}

// play runs all phases against a fresh platform.
func (d *drill) play(ctx context.Context, on bool) (*record, error) {
	p, err := d.start(on)
	if err != nil {
		return nil, err
	}
	defer p.close()
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	if p.loop != nil {
		running.Go(func() { p.loop.Run(ctx) })
	}
	users := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000, MaxIdleConns: 2000}, Timeout: 2 * time.Second}
	defer users.CloseIdleConnections()
	if err := d.warmUp(ctx, users, p); err != nil {
		return nil, err
	}
	r := &record{began: time.Now(), phases: d.phases()}
	var asked sync.WaitGroup
	gap := time.Second / time.Duration(d.offered())
	next := r.began
	for _, ph := range r.phases {
		p.store.set(ph.workers, ph.slower)
		for end := next.Add(ph.length); next.Before(end); next = next.Add(gap) {
			// Requests are sent when they are due, whatever became of the others.
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Until(next)):
			}
			sent := next
			r.late = max(r.late, time.Since(sent))
			asked.Go(func() { r.ask(users, p.url, sent) })
		}
	}
	asked.Wait()
	if p.loop != nil {
		r.decisions = p.loop.Decisions()
		slices.Reverse(r.decisions)
	}
	return r, nil
}

// warmUp opens the connections with a growing load, and lets the store's line
// run empty: a platform without protection would carry a bad start along.
func (d *drill) warmUp(ctx context.Context, users *http.Client, p *platform) error {
	var asked sync.WaitGroup
	defer asked.Wait()
	unmeasured := &record{began: time.Now()}
	const steps = 10
	for i := 1; i <= steps; i++ {
		gap := time.Second * steps / time.Duration(d.offered()*i)
		for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			time.Sleep(gap)
			asked.Go(func() { unmeasured.ask(users, p.url, time.Now()) })
		}
	}
	for p.store.waiting() > 0 && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}

func (r *record) ask(users *http.Client, url string, sent time.Time) {
	began := time.Now()
	res, err := users.Get(url)
	if err != nil {
		r.note(sent, time.Since(began), 0, "")
		return
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err != nil {
		r.note(sent, time.Since(began), 0, "")
		return
	}
	r.note(sent, time.Since(began), res.StatusCode, string(b))
}
