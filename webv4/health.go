package webv4

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// healthTime is what checks may take, all together, since they run at once.
const healthTime = 2 * time.Second

// Health serves two paths for those who watch the process: path/live answers
// 200 as long as it answers, path/ready answers 200 if all checks, run at once,
// return nil within 2 s and Drain has not been called, and else 503. One that does
// not return by then counts as failed, and is not run again before it has. The body
// names the checks, not their errors, which go to Options.Logger. It panics if a
// path is taken.
func (a *API) Health(path string, checks map[string]func(context.Context) error) {
	a.Mount("GET "+path+"/live", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, true, nil)
	}))
	var all []*healthCheck
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		all = append(all, &healthCheck{name: name, run: checks[name]})
	}
	a.Mount("GET "+path+"/ready", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), healthTime)
		defer cancel()
		ok := !a.drains.Load()
		lines := []string{fmt.Sprintf(`"serving":%t`, ok)}
		runs := make([]*healthRun, len(all))
		for i, c := range all {
			runs[i] = c.start(ctx)
		}
		for i, c := range all {
			err := runs[i].wait(ctx)
			if err != nil {
				a.opt.Logger.Warn("webv4: not ready", "check", c.name, "error", err)
				ok = false
			}
			lines = append(lines, fmt.Sprintf("%s:%t", appendJSONString(nil, c.name), err == nil))
		}
		writeHealth(w, ok, lines)
	}))
}

type healthCheck struct {
	name string
	run  func(context.Context) error
	mu   sync.Mutex
	last *healthRun
}

// healthRun is one run of a check; err is set when done is closed.
type healthRun struct {
	done chan struct{}
	err  error
}

// start runs the check on a goroutine of its own, since one that does not look at
// its context must not hold the answer up. There is at most one run of a check,
// which all requests meanwhile wait for, so that those do not pile up either.
func (c *healthCheck) start(ctx context.Context) *healthRun {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil {
		select {
		case <-c.last.done:
		default:
			return c.last
		}
	}
	run := &healthRun{done: make(chan struct{})}
	c.last = run
	go func() {
		defer close(run.done)
		// The client that asked first may go away while others wait.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTime)
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				run.err = fmt.Errorf("panic: %v", p)
			}
		}()
		run.err = c.run(ctx)
	}()
	return run
}

func (r *healthRun) wait(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func writeHealth(w http.ResponseWriter, ok bool, checks []string) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Cache-Control"] = []string{"no-store"}
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintf(w, "{\"ok\":%t,\"checks\":{%s}}\n", ok, strings.Join(checks, ","))
}

// Drain makes the API say that it is not ready, so that balancers send new
// requests elsewhere. It goes on serving; shut the http.Server down a while later.
func (a *API) Drain() { a.drains.Store(true) }
