package webv4

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Health serves two paths for those who watch the process: path/live answers
// 200 as long as it answers, path/ready answers 200 if all checks return nil
// within 2 s and Drain has not been called, and else 503. The body names the
// checks, not their errors, which go to Options.Logger. It panics if a path is
// taken.
func (a *API) Health(path string, checks map[string]func(context.Context) error) {
	a.Mount("GET "+path+"/live", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, true, nil)
	}))
	names := slices.Sorted(maps.Keys(checks))
	a.Mount("GET "+path+"/ready", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		ok := !a.drains.Load()
		lines := []string{fmt.Sprintf(`"serving":%t`, ok)}
		for _, name := range names {
			err := checks[name](ctx)
			if err != nil {
				a.opt.Logger.Warn("webv4: not ready", "check", name, "error", err)
				ok = false
			}
			lines = append(lines, fmt.Sprintf("%s:%t", appendJSONString(nil, name), err == nil))
		}
		writeHealth(w, ok, lines)
	}))
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
