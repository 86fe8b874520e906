//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// check is what reading everything back has shown.
type check struct {
	found      int
	lost       int // acknowledged, but in no timeline, or not under the id answered
	duplicated int // in a timeline more than once
	damaged    int // text or author changed
	complaints []string
}

func (c *check) complain(format string, args ...any) {
	if len(c.complaints) < 10 {
		c.complaints = append(c.complaints, fmt.Sprintf(format, args...))
	}
}

// pageSize is the largest page the timeline interface gives.
const pageSize = 200

// verify reads every user's timeline over HTTP and compares it with what was
// acknowledged.
func (j *job) verify(ctx context.Context) (*check, error) {
	j.note("reading %d timelines back", users(j.opt.posts))
	var (
		mu     sync.Mutex
		c      check
		firsts = make([]int64, j.opt.posts) // by post: the id it was found under
		errs   []error
		work   = make(chan int)
		wg     sync.WaitGroup
	)
	pictures := 0
	see := func(user int, s *apiStatus) {
		if n, err := numberOf(s.Text); err == nil && n%pictureEvery == 0 && n < j.opt.posts {
			if err := j.comparePicture(ctx, s.MediaURL, pictureOf(n)); err != nil {
				mu.Lock()
				c.damaged++
				c.complain("post %d, status %d: picture: %v", n, s.ID, err)
				mu.Unlock()
			}
			mu.Lock()
			pictures++
			mu.Unlock()
		}
		n, err := numberOf(s.Text)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil || n >= j.opt.posts || n%len(j.tokens) != user:
			c.damaged++
			c.complain("status %d of user %d: not a post of theirs: %.60q", s.ID, firstUser+user, s.Text)
		case s.Text != textOf(n) || s.User.ID != int64(firstUser+user):
			c.damaged++
			c.complain("post %d, status %d: text or author differs: %.60q by %d", n, s.ID, s.Text, s.User.ID)
		case firsts[n] != 0:
			c.duplicated++
			c.complain("post %d: twice, as status %d and %d", n, firsts[n], s.ID)
		default:
			firsts[n] = s.ID
			c.found++
		}
	}
	for range 8 {
		wg.Go(func() {
			for user := range work {
				if err := j.readTimeline(ctx, user, see); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	for user := range users(j.opt.posts) {
		work <- user
	}
	close(work)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}

	aliases := 0
	for n := range firsts {
		id := j.ids[n].Load()
		if id == 0 || id == firsts[n] {
			continue
		}
		if firsts[n] == 0 {
			c.lost++
			c.complain("post %d: acknowledged as status %d, in no timeline", n, id)
			continue
		}
		// A retry was answered with an id of its own; it must lead to the post.
		aliases++
		var s apiStatus
		path := fmt.Sprintf("/2/statuses/show.json?id=%d", id)
		if err := j.getAPI(ctx, path, j.tokens[n%len(j.tokens)], &s); err != nil || s.ID != firsts[n] {
			c.lost++
			c.complain("post %d: acknowledged as status %d, which does not lead to status %d: %v", n, id, firsts[n], err)
		}
	}
	j.note("found %d statuses and %d pictures; %d retried posts are reachable under both ids", c.found, pictures, aliases)
	return &c, nil
}

func (j *job) readTimeline(ctx context.Context, user int, see func(int, *apiStatus)) error {
	for maxID := int64(0); ; {
		var page apiTimeline
		path := fmt.Sprintf("/2/statuses/user_timeline.json?uid=%d&count=%d&max_id=%d", firstUser+user, pageSize, maxID)
		if err := j.getAPI(ctx, path, j.tokens[user], &page); err != nil {
			return fmt.Errorf("timeline of user %d: %w", firstUser+user, err)
		}
		for i := range page.Statuses {
			see(user, &page.Statuses[i])
		}
		if maxID = page.NextCursor; maxID == 0 {
			return nil
		}
	}
}

func (j *job) comparePicture(ctx context.Context, url string, want []byte) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	resp, err := j.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
		return fmt.Errorf("%s: %s, %d bytes that are not what was posted (%d bytes)", url, resp.Status, len(got), len(want))
	}
	return nil
}

// printTrace picks one traced post at random and prints its way through all
// processes. It reports whether nothing is missing.
func (j *job) printTrace(ctx context.Context) (complete bool, err error) {
	if len(j.samples) == 0 {
		fmt.Println("no post was traced after the last restart")
		return false, nil
	}
	s := j.samples[rand.IntN(len(j.samples))]
	var spans []watchman.SpanRecord
	var missing string
	// A tier files a span when its work ends, a moment after the answer.
	for range 20 {
		if spans, err = j.fleet.trace(ctx, s.trace); err != nil {
			return false, err
		}
		spans = append(spans, j.watch.Trace(s.trace)...)
		if missing = missingHops(spans); missing == "" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Printf("\ntrace %s of post %d, one of %d followed after the last restart:\n\n", s.trace, s.post, len(j.samples))
	if err := watchman.WriteTree(os.Stdout, spans); err != nil {
		return false, err
	}
	fmt.Println()
	if missing != "" {
		fmt.Println("missing:", missing)
	}
	return missing == "", nil
}

// missingHops says which part of the way HTTP → RPC → queue → batch write is
// not among spans, or whose parent is not.
func missingHops(spans []watchman.SpanRecord) string {
	want := map[string]bool{
		"newyear client": true, "web server": true, "web client": true, "service server": true,
		"service producer": true, "queue server": true, "processor consumer": true,
	}
	known := map[watchman.SpanID]bool{}
	for _, s := range spans {
		known[s.SpanID] = true
	}
	var orphans []string
	for _, s := range spans {
		tier, _, _ := strings.Cut(s.Service, "-")
		delete(want, tier+" "+strings.ToLower(s.Kind.String()))
		if s.Service != "newyear" && !known[s.Parent] {
			orphans = append(orphans, "the parent of "+s.Service+" "+s.Name)
		}
	}
	for hop := range want {
		orphans = append(orphans, "the span of "+hop)
	}
	sort.Strings(orphans)
	return strings.Join(orphans, ", ")
}

// report prints the summary and the result line.
func (j *job) report(c *check, complete bool, u usage) error {
	seconds := j.posted.Sub(j.began).Seconds()
	acked := j.acked.Load()
	fmt.Printf("posts      %d acknowledged in %.1f s, %d attempts repeated, %d refused\n", acked, seconds, j.retried.Load(), j.refused.Load())
	if j.refusal != "" {
		fmt.Println("           first refusal:", j.refusal)
	}
	fmt.Printf("latency    p50 %.1f ms, p99 %.1f ms; with the posts around kills p99 %.1f ms, p99.9 %.1f ms\n",
		milliseconds(j.calm.percentile(50)), milliseconds(j.calm.percentile(99)),
		milliseconds(j.all.percentile(99)), milliseconds(j.all.percentile(99.9)))
	perPost := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(max(acked, 1)) }
	fmt.Printf("CPU time   %.0f µs a post:", perPost(u.total()))
	names := []string{"client"}
	for _, p := range j.fleet.procs {
		names = append(names, p.name)
	}
	for _, n := range names {
		fmt.Printf(" %s %.0f", n, perPost(u.cpu[n]))
	}
	fmt.Printf("\nmemory     %d MiB resident at most, all processes together\n", j.peakMemory>>20)
	for _, s := range c.complaints {
		fmt.Println("complaint ", s)
	}
	word := "complete"
	if !complete {
		word = "incomplete"
	}
	lost := c.lost + c.damaged
	fmt.Printf("result posts=%d acked=%d refused=%d seconds=%.1f rate=%.0f/s p50=%.1fms p99=%.1fms kills=%d lost=%d duplicated=%d trace=%s\n",
		j.opt.posts, acked, j.refused.Load(), seconds, float64(acked)/seconds,
		milliseconds(j.calm.percentile(50)), milliseconds(j.calm.percentile(99)),
		j.kills.Load(), lost, c.duplicated, word)
	var errs []error
	if lost > 0 {
		errs = append(errs, fmt.Errorf("%d posts lost or damaged", lost))
	}
	if c.duplicated > 0 {
		errs = append(errs, fmt.Errorf("%d posts duplicated", c.duplicated))
	}
	if !complete {
		errs = append(errs, errors.New("the trace is incomplete"))
	}
	if acked+j.refused.Load() != int64(j.opt.posts) {
		errs = append(errs, fmt.Errorf("%d of %d posts have neither an answer nor a refusal", int64(j.opt.posts)-acked-j.refused.Load(), j.opt.posts))
	}
	return errors.Join(errs...)
}
