package webv4

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/heddle-go/heddle/watchman"
)

// API is a set of interfaces; it is an http.Handler. Register everything before
// it serves: registration is not safe for concurrent use, serving is.
//
// What Group returns is the same API, seen from below a path.
type API struct {
	*core
	scope
}

// core is what an API and its groups share.
type core struct {
	opt    Options
	router router
	cells  *cells
	log    *accessLog
	groups []*API
	steps  []interceptor // in the order of registration
	points map[string]*point
	shared map[string]*quota   // those of several interfaces, by name
	limits map[string]*limiter // by cost class
	store  storeHealth
	kept   *replies // of interfaces with a stale step
	broken []*breaker

	batches bool // there is an interface that makes batches

	deny   *DenyList
	drains atomic.Bool

	fullUntil atomic.Int64 // the moment until which an address has no call left; see full
	none      *operation   // requests for which there is no interface
	stats     counters
}

// operation is one registered interface.
type operation struct {
	plan     *plan // nil for a mounted handler
	name     string
	site     string // where it was registered
	watch    *watchman.Operation
	points   []*point
	limiter  *limiter
	format   format // without negotiation
	twin     bool   // of a route that ends in .json
	batch    bool   // takes a BatchRequest
	own      *codecs
	style    ErrorStyle
	codes    ErrorCodes // of the version
	auth     *scheme
	unscoped []string // challenges to those whose token lacks scopes
	quotas   []*quota
	policy   []string // the RateLimit-Policy header
	degraded *degradedBy
	breaker  *breaker
	filters  []Filter
	around   []Interceptor
	outer    http.Handler // the middleware, if there is any

	mounted  http.Handler
	names    []string     // of the path's parameters, for a mounted handler
	promised reflect.Type // *Resp
	reply    *model
	trimmed  *model
	picks    *selections
	accepts  bool // the Accept header decides the format
	asks     bool // somebody wants to know who calls
	lends    bool // others get to see the reply
	streams  bool // the reply writes itself
	static   *staticReply
	bind     func(r *http.Request, path []string, maxBody int64) (any, error)
	call     handler
	fallback handler
}

// handler is an interface's function without its types.
type handler func(ctx context.Context, req any) (any, error)

// New returns an API without interfaces. It does no I/O; with an AccessLog it
// owns a goroutine that Shutdown ends.
func New(opts *Options) (*API, error) {
	o, err := opts.filled()
	if err != nil {
		return nil, err
	}
	a := &API{core: &core{opt: o, cells: newCells(), points: map[string]*point{}, shared: map[string]*quota{}, limits: map[string]*limiter{}, kept: newReplies(o.KeepReplies)}}
	a.degradable = []*point{a.point(Everything, allLevels)}
	a.deny = o.Deny
	if o.IdempotencyStore == nil {
		a.opt.IdempotencyStore = newOnceStore(o.KeepIdempotent, func() { a.stats.onceDropped.Add(1) })
	}
	a.style, a.codes, a.middleware = WeiboErrors, o.ErrorCodes, o.Middleware
	if o.Authenticator != nil {
		a.auth = newScheme(o.Authenticator)
	}
	if o.Errors != 0 {
		a.style = o.Errors
	}
	if a.quotas, err = a.sharedQuotas(a.core, o.Quotas); err != nil {
		return nil, fmt.Errorf("webv4: Options.Quotas: %w", err)
	}
	switch {
	case o.AccessLogger != nil:
		a.log = newAccessLog(nil, false, o.AccessLogger.Handler())
	case o.AccessLog != nil:
		a.log = newAccessLog(o.AccessLog, o.CombinedLog, nil)
	}
	a.none = &operation{name: "no interface", style: a.style, codes: a.codes, watch: o.Watchman.Operation(watchman.Server, "no interface")}
	a.none.asks = a.asks(a.none)
	return a, nil
}

// Handle registers fn as the interface that Req's tags declare; see the package
// documentation for the tags. fn runs on many goroutines at once; its *Req and
// what is in it are its own. The reply is *Resp as JSON, or as XML, MessagePack
// or a codec's format for the twins that a route ending in .json has. It panics if the tags are wrong,
// naming everything that is, or if the route is taken.
func Handle[Req, Resp any](a *API, fn func(context.Context, *Req) (*Resp, error)) {
	site := callSite()
	p, err := compile(reflect.TypeFor[Req](), a)
	var rt *route
	var twins []twin
	if p != nil {
		var more error
		rt, twins, more = a.vet(p, reflect.TypeFor[Resp](), site)
		err = errors.Join(err, more)
	}
	if fn == nil {
		err = errors.Join(err, fmt.Errorf("%s: no function given", reflect.TypeFor[Req]()))
	}
	if err != nil {
		panic("webv4: Handle: " + err.Error())
	}
	op := a.operation(rt, site)
	op.plan, op.call, op.auth = p, erased(fn), a.auth
	if len(p.scopes) > 0 {
		op.unscoped = a.auth.unscoped(p.scopes)
	}
	op.bind = func(r *http.Request, path []string, maxBody int64) (any, error) {
		req := new(Req)
		return req, p.bind(r, path, unsafe.Pointer(req), maxBody)
	}
	op.reply, _ = modelOf(reflect.TypeFor[Resp]())
	op.promised = reflect.TypeFor[*Resp]()
	op.own = a.codecs(reflect.TypeFor[Resp]())
	op.trimmed = op.reply.trimmed(map[*model]*model{})
	op.picks = &selections{}
	op.accepts = !strings.HasSuffix(rt.path, ".json")
	op.streams = writesItself(reflect.TypeFor[Resp]())
	if reflect.TypeFor[Resp]() == reflect.TypeFor[BatchReply]() {
		op.batch, a.batches = true, true
	}
	if p.steps.name != "" {
		op.points = append([]*point{a.point(p.steps.name, p.steps.has)}, a.degradable...)
	}
	op.degraded = newDegradedBy(p.steps.name)
	if p.breaker != nil {
		op.breaker = a.newBreaker(op.name, p.breaker)
		op.call = op.breaker.around(op.call)
	}
	op.limiter = a.limiter(p.cost)
	op.limit(a)
	a.attach(op, p.with)
	a.register(rt, op)
	for _, t := range twins {
		other := *op
		other.twin, other.format = true, t.format
		a.register(t.route, &other)
	}
}

// operation makes what an interface or a mounted handler has in any case.
func (a *API) operation(rt *route, site string) *operation {
	name := rt.method + " " + rt.path
	return &operation{name: name, site: site, style: a.style, codes: a.codes, watch: a.opt.Watchman.Operation(watchman.Server, name)}
}

// Fallback registers what answers an interface whose degrade tag has the step
// fallback while it is degraded to Static: it is called instead of the function
// given to Handle, which must have been registered with the same Req and Resp. It
// panics if there is no such interface.
func Fallback[Req, Resp any](a *API, fn func(context.Context, *Req) (*Resp, error)) {
	t := reflect.TypeFor[Req]()
	if fn == nil {
		panic(fmt.Sprintf("webv4: Fallback: %s: no function given", t))
	}
	for _, op := range a.replaceable("Fallback", "fallback", t, reflect.TypeFor[*Resp]()) {
		op.fallback = erased(fn)
	}
}

// SetStatic gives the reply that answers an interface whose degrade tag has the
// step static while it is degraded to Static: to every request the same, made
// now. It panics if there is no such interface, which Handle registered with the
// same Req and Resp, or the reply cannot be written.
func SetStatic[Req, Resp any](a *API, resp *Resp) {
	for _, op := range a.replaceable("SetStatic", "static", reflect.TypeFor[Req](), reflect.TypeFor[*Resp]()) {
		var err error
		if op.static, err = newStatic(op.own, op.reply, unsafe.Pointer(resp)); err != nil {
			panic(fmt.Sprintf("webv4: SetStatic: %s: %v", op.name, err))
		}
	}
}

// replaceable finds the interfaces that req declares, that reply with a resp and have
// a step. It panics if there is none, and says why.
func (a *API) replaceable(who, step string, req, resp reflect.Type) (list []*operation) {
	why := fmt.Sprintf("%s is no interface with the step %s in its degrade tag", req, step)
	for _, rt := range a.router.list {
		op := rt.op
		if op.plan == nil || op.plan.typ != req || !op.plan.steps.has[Static] || op.plan.steps.fall != (step == "fallback") {
			continue
		}
		if op.promised != resp {
			why = fmt.Sprintf("%s replies with %s, not %s", op.name, op.promised, resp)
			continue
		}
		list = append(list, op)
	}
	if list == nil {
		panic(fmt.Sprintf("webv4: %s: %s", who, why))
	}
	return list
}

// erased hides fn's types from the chain that every interface shares.
func erased[Req, Resp any](fn func(context.Context, *Req) (*Resp, error)) handler {
	return func(ctx context.Context, req any) (any, error) {
		resp, err := fn(ctx, req.(*Req))
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
	method, path, _ := strings.Cut(route, " ")
	if !slices.Contains(methods[:], method) || h == nil {
		panic(fmt.Sprintf("webv4: Mount %q: want a method, a path and a handler", route))
	}
	site := callSite()
	rt, err := parseRoute(method, a.prefix+path)
	if err == nil {
		err = a.router.check(rt, site)
	}
	if err != nil {
		panic("webv4: Mount: " + err.Error())
	}
	op := a.operation(rt, site)
	op.mounted, op.names = h, rt.names
	a.register(rt, op)
}

// register gives the operation its place and its middleware.
func (a *API) register(rt *route, op *operation) {
	rt.op = op
	op.outer = a.wrap(op)
	op.lends = op.outer != nil || op.mounted != nil
	op.asks = a.asks(op)
	a.router.add(rt)
}

// asks reports whether somebody wants to know who makes the calls of op.
func (a *API) asks(op *operation) bool {
	if op.plan != nil && op.plan.auth || len(op.quotas) > 0 || op.outer != nil {
		return true
	}
	return a.log != nil || a.deny != nil || a.opt.RequestIDs || a.opt.TrustUnix || len(a.opt.TrustedProxies) > 0
}

// Server returns an http.Server for the API with limits for slow and idle
// clients: 10 s for a request's header, 60 s for all of it, 64 KiB of header, and
// for the handler and the client that reads the reply 60 s more than the longest
// timeout of an interface that is registered. Give it an address or a listener.
func (a *API) Server() *http.Server {
	longest := a.opt.Timeout
	for _, rt := range a.router.list {
		if rt.op.plan != nil {
			longest = max(longest, rt.op.plan.timeout)
		}
	}
	return &http.Server{
		Handler:           a,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      longest + 60*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

// Shutdown writes what is left of the access log and returns when it is written
// or ctx is done, with ctx's error. Call it when the http.Server has shut down.
// It may be called again.
func (a *API) Shutdown(ctx context.Context) error {
	if a.log == nil {
		return nil
	}
	return a.log.close(ctx)
}

type counters struct {
	requests, errors, gone, panics, degraded, shed, limited, storeFailed, denied, unauthorized, onceFailed, onceDropped atomic.Uint64
}

// Stats are an API's counters; all but Callers and Limiters only grow.
type Stats struct {
	Requests     uint64 // requests answered
	Errors       uint64 // of which with status 400 or above
	Gone         uint64 // of which nobody waited for the answer of
	Panics       uint64 // handlers that panicked
	Degraded     uint64 // requests answered by a switch: refused or by a fallback
	Shed         uint64 // requests refused by overload protection
	Limited      uint64 // requests refused by a quota
	StoreFailed  uint64 // requests for which Options.QuotaStore did not answer in time, or was not asked as it had not for others
	Callers      uint64 // callers whose quotas are remembered now; goes up and down
	Denied       uint64 // requests refused by the deny list
	Unauthorized uint64 // requests refused by the authenticator
	OnceFailed   uint64 // replies that Options.IdempotencyStore did not keep, and claims that it did not renew
	OnceDropped  uint64 // replies of Idempotency-Keys that went before their time, because of Options.KeepIdempotent
	LogDropped   uint64 // access log lines lost because the writer was too slow
	LogFailed    uint64 // writes of the access log that failed

	Limiters []LimiterStats // of overload protection, by cost class
	Breakers []BreakerStats // of interfaces with a breaker tag, in the order of registration
}

// Stats returns a snapshot.
func (a *API) Stats() Stats {
	s := Stats{
		Requests: a.stats.requests.Load(), Errors: a.stats.errors.Load(), Gone: a.stats.gone.Load(), Panics: a.stats.panics.Load(),
		Degraded: a.stats.degraded.Load(), Shed: a.stats.shed.Load(), Limited: a.stats.limited.Load(), StoreFailed: a.stats.storeFailed.Load(), Denied: a.stats.denied.Load(), Unauthorized: a.stats.unauthorized.Load(),
		OnceFailed: a.stats.onceFailed.Load(), OnceDropped: a.stats.onceDropped.Load(),
	}
	for cost, l := range a.limits {
		s.Limiters = append(s.Limiters, l.stats(cost))
	}
	slices.SortFunc(s.Limiters, func(a, b LimiterStats) int { return strings.Compare(a.Cost, b.Cost) })
	for _, b := range a.broken {
		s.Breakers = append(s.Breakers, b.stats())
	}
	s.Callers = uint64(a.cells.callers())
	if a.log != nil {
		s.LogDropped, s.LogFailed = a.log.dropped.Load(), a.log.failed.Load()
	}
	return s
}
