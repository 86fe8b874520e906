package webv4

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/julienschmidt/httprouter"

	"github.com/heddle-go/heddle/watchman"
)

// API is a set of interfaces; it is an http.Handler. Register everything before
// it serves: registration is not safe for concurrent use, serving is.
type API struct {
	opt    Options
	router router
	quotas []*quota
	log    *accessLog
	close  sync.Once

	none  *operation // requests for which there is no interface
	stats counters
}

// operation is one registered interface.
type operation struct {
	plan  *plan // nil for a mounted handler
	name  string
	site  string // where it was registered
	watch *watchman.Operation
	level *watchman.Switch
	xml   bool // the route's .xml twin

	mounted  http.Handler
	call     func(ctx context.Context, r *http.Request, params httprouter.Params, maxBody int64) (any, error)
	fallback func(ctx context.Context, r *http.Request, params httprouter.Params, maxBody int64) (any, error)
}

// New returns an API without interfaces. It does no I/O; with an AccessLog it
// owns a goroutine that Shutdown ends.
func New(opts *Options) (*API, error) {
	o, err := opts.filled()
	if err != nil {
		return nil, err
	}
	a := &API{opt: o}
	if o.Quotas != "" {
		if a.quotas, err = parseQuotas(o.Quotas); err != nil {
			return nil, err
		}
	}
	if o.AccessLog != nil {
		a.log = newAccessLog(o.AccessLog)
	}
	a.none = &operation{name: "no interface", watch: o.Watchman.Operation(watchman.Server, "no interface")}
	return a, nil
}

// Handle registers fn as the interface that Req's tags declare; see the package
// documentation for the tags. fn runs on many goroutines at once; its *Req and
// what is in it are its own. The reply is *Resp as JSON, or as XML for the .xml
// twin that a route ending in .json has. It panics if the tags are wrong,
// naming everything that is, or if the route is taken.
func Handle[Req, Resp any](a *API, fn func(context.Context, *Req) (*Resp, error)) {
	p, err := compile(reflect.TypeFor[Req]())
	if err != nil {
		panic("webv4: Handle: " + err.Error())
	}
	if fn == nil {
		panic("webv4: Handle: " + p.path + ": no function given")
	}
	if p.auth && a.opt.Authenticator == nil {
		panic("webv4: Handle: " + p.path + ": auth without Options.Authenticator")
	}
	op := &operation{plan: p, name: p.method + " " + p.path, site: caller(), call: bound(p, fn)}
	op.watch = a.opt.Watchman.Operation(watchman.Server, op.name)
	if p.degrade != "" {
		op.level = a.opt.Watchman.Switch(p.degrade, false)
	}
	a.register(p.method, p.path, op)
	if base, ok := strings.CutSuffix(p.path, ".json"); ok {
		twin := *op
		twin.xml = true
		a.register(p.method, base+".xml", &twin)
	}
}

// Fallback registers what answers while the switch of a degrade:"…=fallback"
// interface is on, instead of the function given to Handle, which must have
// been registered with the same Req. It panics if there is no such interface.
func Fallback[Req, Resp any](a *API, fn func(context.Context, *Req) (*Resp, error)) {
	p, err := compile(reflect.TypeFor[Req]())
	if err != nil {
		panic("webv4: Fallback: " + err.Error())
	}
	base := strings.TrimSuffix(p.path, ".json")
	n := 0
	for _, path := range []string{p.path, base + ".xml"} {
		if op := a.router.routes[p.method+" "+unnamed(path)]; op != nil && op.plan != nil && op.plan.fallback {
			op.fallback = bound(op.plan, fn)
			n++
		}
	}
	if n == 0 {
		panic(fmt.Sprintf("webv4: Fallback: %s %s is no interface with degrade:\"…=fallback\"", p.method, p.path))
	}
}

// bound erases fn's types: it binds a new Req and calls fn.
func bound[Req, Resp any](p *plan, fn func(context.Context, *Req) (*Resp, error)) func(context.Context, *http.Request, httprouter.Params, int64) (any, error) {
	return func(ctx context.Context, r *http.Request, params httprouter.Params, maxBody int64) (any, error) {
		req := new(Req)
		if err := p.bind(r, params, unsafe.Pointer(req), maxBody); err != nil {
			return nil, err
		}
		resp, err := fn(ctx, req)
		if err != nil || resp == nil {
			return nil, err
		}
		return resp, nil
	}
}

// Mount serves requests for route, a method and a path such as
// "GET /media/:id", with a plain handler; r.PathValue gives the path's
// parameters. Access log, tracing and panic isolation apply; auth, quotas and
// limits are the handler's own. It panics if the route is taken.
func (a *API) Mount(route string, h http.Handler) {
	method, path, ok := strings.Cut(route, " ")
	if !ok || !strings.HasPrefix(path, "/") || h == nil {
		panic(fmt.Sprintf("webv4: Mount %q: want a method, a path and a handler", route))
	}
	op := &operation{name: route, site: caller(), mounted: h, watch: a.opt.Watchman.Operation(watchman.Server, route)}
	a.register(method, path, op)
}

func (a *API) register(method, path string, op *operation) {
	if err := a.router.add(method, path, op); err != nil {
		panic("webv4: " + err.Error())
	}
}

// caller is where the application called this package.
func caller() string {
	if _, file, line, ok := runtime.Caller(2); ok {
		return fmt.Sprintf("%s:%d", file, line)
	}
	return "an unknown place"
}

// Server returns an http.Server for the API with limits for slow and idle
// clients: 10 s for a request's header, 60 s for all of it, 64 KiB of header.
// Give it an address or a listener.
func (a *API) Server() *http.Server {
	return &http.Server{
		Handler:           a,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      90 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

// Shutdown writes what is left of the access log. Call it when the http.Server
// has shut down; calling it again does nothing.
func (a *API) Shutdown(context.Context) error {
	a.close.Do(func() {
		if a.log != nil {
			a.log.close()
		}
	})
	return nil
}

type counters struct {
	requests, errors, panics, degraded, limited, unauthorized atomic.Uint64
}

// Stats are an API's counters; all only grow.
type Stats struct {
	Requests     uint64 // requests answered
	Errors       uint64 // of which with status 400 or above
	Panics       uint64 // handlers that panicked
	Degraded     uint64 // requests answered by a switch: refused or by a fallback
	Limited      uint64 // requests refused by a quota
	Unauthorized uint64 // requests refused by the authenticator
	LogDropped   uint64 // access log lines lost because the writer was too slow
	LogFailed    uint64 // writes of the access log that failed
}

// Stats returns a snapshot.
func (a *API) Stats() Stats {
	s := Stats{
		Requests: a.stats.requests.Load(), Errors: a.stats.errors.Load(), Panics: a.stats.panics.Load(),
		Degraded: a.stats.degraded.Load(), Limited: a.stats.limited.Load(), Unauthorized: a.stats.unauthorized.Load(),
	}
	if a.log != nil {
		s.LogDropped, s.LogFailed = a.log.dropped.Load(), a.log.failed.Load()
	}
	return s
}
