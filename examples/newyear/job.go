//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/examples/internal/feed"
	"github.com/heddle-go/heddle/watchman"
)

const (
	// attempts bounds how often one post is tried; with the waits between them
	// they outlast any restart.
	attempts = 60

	// tracedPosts is about how many posts are sent with the sampled flag, so
	// that the one picked in the end is among them.
	tracedPosts = 2000
)

// job is one run: the posts, who sends them, and what came back.
type job struct {
	opt    options
	fleet  *fleet
	http   *http.Client
	tokens []string // by user
	watch  *watchman.Watchman
	op     *watchman.Operation

	next    atomic.Int64 // number of the next post to send
	acked   atomic.Int64
	refused atomic.Int64
	retried atomic.Int64
	ids     []atomic.Int64 // by post: the id acknowledged, 0 if none

	calm  histogram // posts that no kill overlapped
	all   histogram
	kills atomic.Int64
	// disturbed is the time until which answers count as overlapped by a kill.
	disturbed atomic.Int64 // Unix nanoseconds

	mu      sync.Mutex
	samples []sample // traced posts since the last restart
	refusal string   // the first refusal, for the report

	began, posted time.Time
	peakMemory    int64
}

type sample struct {
	post  int
	trace watchman.TraceID
}

func newJob(o options, f *fleet, tokens *feed.Tokens) (*job, error) {
	w, err := watchman.New("newyear", &watchman.Options{KeepTraces: 2 * tracedPosts, Sample: 1})
	if err != nil {
		return nil, err
	}
	j := &job{
		opt: o, fleet: f, watch: w, op: w.Operation(watchman.Client, "POST update"),
		ids:  make([]atomic.Int64, o.posts),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	}
	until := time.Now().Add(12 * time.Hour)
	for u := range users(o.posts) {
		j.tokens = append(j.tokens, tokens.Issue(int64(firstUser+u), until))
	}
	return j, nil
}

// post sends every post and kills a provider, the queue and the processor at a
// third, half and two thirds of the way.
func (j *job) post(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	j.began = time.Now()
	stopProgress := j.progress()

	var wg sync.WaitGroup
	for range j.opt.clients {
		wg.Go(func() {
			c := &client{addr: j.fleet.cfg.Web}
			defer c.close()
			for ctx.Err() == nil {
				n := j.next.Add(1) - 1
				if n >= int64(j.opt.posts) {
					return
				}
				j.send(ctx, c, int(n))
			}
		})
	}
	killed := make(chan error, 1)
	go func() {
		err := j.killAndRestart(ctx)
		if err != nil {
			cancel(err)
		}
		killed <- err
	}()
	wg.Wait()
	j.posted = time.Now()
	err := <-killed
	stopProgress()
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

// send posts number n until it is acknowledged or refused for good.
func (j *job) send(ctx context.Context, c *client, n int) {
	user := n % len(j.tokens)
	text, key := textOf(n), "newyear-"+strconv.Itoa(n)
	var span *watchman.Span // of the posts that are followed
	if n%max(1, j.opt.posts/tracedPosts) == 0 {
		_, span = j.op.Start(ctx)
	}
	trace := span.SpanContext()
	generation := j.kills.Load()
	began := time.Now()
	var last string
	for try := range attempts {
		if try > 0 {
			j.retried.Add(1)
			wait := min(time.Duration(try)*20*time.Millisecond, 500*time.Millisecond)
			select {
			case <-time.After(wait/2 + rand.N(wait)):
			case <-ctx.Done():
				span.End(ctx.Err())
				return
			}
		}
		a, err := c.update(j.tokens[user], key, text, pictureOf(n), trace)
		switch {
		case err != nil:
			last = err.Error()
		case a.status == http.StatusOK:
			d := time.Since(began)
			span.End(nil)
			j.ids[n].Store(a.id)
			j.acked.Add(1)
			j.all.add(d)
			if began.UnixNano() > j.disturbed.Load() && j.kills.Load() == generation {
				j.calm.add(d)
			}
			if trace.IsValid() && try == 0 {
				j.mu.Lock()
				j.samples = append(j.samples, sample{n, trace.TraceID})
				j.mu.Unlock()
			}
			return
		default:
			last = fmt.Sprintf("%d %s", a.status, a.text)
			if a.status < 500 && a.status != http.StatusTooManyRequests && a.status != http.StatusRequestTimeout {
				j.refuse(n, span, last)
				return
			}
		}
	}
	j.refuse(n, span, last)
}

func (j *job) refuse(n int, span *watchman.Span, why string) {
	span.End(errors.New(why))
	j.refused.Add(1)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.refusal == "" {
		j.refusal = fmt.Sprintf("post %d: %s", n, why)
	}
}

// victims are who is killed, and when.
var victims = [...]struct {
	name    string
	num, by int // at num/by of the way
}{
	{"service-0", 1, 3},
	{"queue", 1, 2},
	{"processor", 2, 3},
}

// settleTime is how long after a restart answers still count as disturbed.
const settleTime = time.Second

func (j *job) killAndRestart(ctx context.Context) error {
	for _, v := range victims {
		at := int64(j.opt.posts) * int64(v.num) / int64(v.by)
		for j.acked.Load()+j.refused.Load() < at {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(2 * time.Millisecond):
			}
		}
		p := j.fleet.process(v.name)
		j.disturbed.Store(time.Now().Add(time.Hour).UnixNano())
		j.kills.Add(1)
		p.kill()
		j.note("SIGKILL to %s after %d posts", v.name, j.acked.Load())
		began := time.Now()
		if err := p.start(ctx); err != nil {
			return fmt.Errorf("restart: %w", err)
		}
		j.disturbed.Store(time.Now().Add(settleTime).UnixNano())
		j.note("%s is back after %v", v.name, time.Since(began).Round(time.Millisecond))
		// What the killed process knew of earlier traces died with it.
		j.mu.Lock()
		j.samples = j.samples[:0]
		j.mu.Unlock()
	}
	return nil
}

// drain waits until the processor has taken everything out of the queue.
func (j *job) drain(ctx context.Context) error {
	began := time.Now()
	last, since := int64(-1), time.Now()
	for {
		n, err := j.backlog()
		if err == nil && n == 0 {
			j.note("backlog empty %v after the last post", time.Since(began).Round(time.Millisecond))
			return nil
		}
		if err == nil && n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > 2*time.Minute {
			return fmt.Errorf("backlog stands at %d for two minutes (%v)", n, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// backlog asks the queue, like any memcached client, what it still holds:
// "STAT name put/taken" for each queue.
func (j *job) backlog() (int64, error) {
	conn, err := net.DialTimeout("tcp", j.fleet.cfg.Queue, time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := conn.Write([]byte("stats queue\r\n")); err != nil {
		return 0, err
	}
	var total int64
	for {
		var word, name, counts string
		if _, err := fmt.Fscan(conn, &word); err != nil {
			return 0, err
		}
		if word == "END" {
			return total, nil
		}
		if _, err := fmt.Fscan(conn, &name, &counts); err != nil {
			return 0, err
		}
		var put, taken int64
		if _, err := fmt.Sscanf(counts, "%d/%d", &put, &taken); err != nil {
			return 0, fmt.Errorf("stats queue: %s %s: %w", name, counts, err)
		}
		total += put - taken
	}
}

func (j *job) note(format string, args ...any) {
	erase := ""
	if onTerminal() {
		erase = eraseLine
	}
	fmt.Printf("%s%7.1fs  %s\n", erase, time.Since(j.began).Seconds(), fmt.Sprintf(format, args...))
}
