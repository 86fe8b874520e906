package webv4

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// source is where a parameter comes from.
type source int

const (
	fromQuery source = iota
	fromForm
	fromPath
	fromHeader
	fromCookie
	fromFile
	fromBody
)

var sourceTags = [...]string{"query", "form", "path", "header", "cookie", "file", "body"}

// plan is what a request struct's tags say, worked out once.
type plan struct {
	typ          reflect.Type
	tag          reflect.StructTag // of the declaration
	route        *route
	with         []string // names of interceptors and filters
	auth         bool
	scopes       []string
	level        int // the application's, at least
	quotas       []*quota
	noQuota      bool
	steps        steps
	breaker      *breakerTag   // nil without the tag
	once         time.Duration // how long replies are kept by Idempotency-Key; 0: they are not
	onceRequired bool
	class        Class
	cost         string // the limiter's name
	etag         bool
	selects      string   // the query parameter that selects fields, "" for none
	trims        string   // the query parameter that trims the reply, "" for none
	cache        []string // the Cache-Control header of replies; nil: none
	varies       []string // the Vary header of replies that may be kept; nil: none
	timeout      time.Duration

	fields []field
	query  []int // indexes into fields, by source
	form   []int
	others []int // path, header, cookie
	files  []int
	room   int64   // in bytes, that files may take beyond Options.MaxBody
	late   []int   // those that may be missing, get a default or are checked at the end
	body   int     // index of the body field, -1 for none
	own    *codecs // for the body
}

// maxFields is what the mask of parameters seen has bits for.
const maxFields = 64

// compile reads the tags of a request struct for a. All that is wrong is reported together.
func compile(t reflect.Type, a *API) (*plan, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("request type %s: want a struct", t)
	}
	p := &plan{typ: t, body: -1}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", t, fmt.Sprintf(format, args...)))
	}
	// The interface's own tags come first: the parameters refer to the route.
	declared := false
	for i := range t.NumField() {
		f := t.Field(i)
		switch route, ok := f.Tag.Lookup("route"); {
		case f.Name != "_":
		case !ok || declared:
			elsewhere(f.Tag, bad)
		default:
			declared = true
			p.interfaceTags(route, a.prefix, f.Tag, bad)
		}
	}
	if !declared {
		bad("no field `_ struct{}` with a route tag, such as route:\"GET /2/things.json\"")
	}
	p.structTags(t, 0, a, &errs)
	if len(p.fields) > maxFields {
		bad("%d parameters, limit %d", len(p.fields), maxFields)
	}
	p.index(bad)
	p.kept()
	return p, errors.Join(errs...)
}

// elsewhere reports tags of the interface that are not beside its route.
func elsewhere(tag reflect.StructTag, bad func(string, ...any)) {
	keys, _ := tagKeys(string(tag))
	for _, key := range keys {
		if slices.Contains(interfaceTags, key) {
			bad("%s on a second field _: want all tags of an interface beside its route", key)
		}
	}
}

// structTags reads the parameters of a struct and of the structs embedded in it.
func (p *plan) structTags(t reflect.Type, base uintptr, a *API, errs *[]error) {
	for i := range t.NumField() {
		f := t.Field(i)
		bad := func(format string, args ...any) {
			*errs = append(*errs, fmt.Errorf("%s.%s: %s", t, f.Name, fmt.Sprintf(format, args...)))
		}
		switch {
		case f.Name == "_":
			if t != p.typ {
				elsewhere(f.Tag, bad)
			}
		case f.Anonymous && f.Type.Kind() == reflect.Struct && f.Tag == "":
			p.structTags(f.Type, base+f.Offset, a, errs)
		case f.Anonymous && f.Type.Kind() == reflect.Pointer && f.Tag == "":
			if hasParameters(f.Type.Elem(), map[reflect.Type]bool{}) {
				bad("has parameters, and nothing makes what the pointer points at: embed %s itself", f.Type.Elem())
			}
		default:
			p.fieldTags(f, base, a, bad)
		}
	}
}

// hasParameters reports whether fields of a struct, or of structs embedded in it,
// say where they come from.
func hasParameters(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t.Kind() != reflect.Struct || seen[t] {
		return false
	}
	seen[t] = true
	for i := range t.NumField() {
		f := t.Field(i)
		for _, tag := range sourceTags {
			if _, ok := f.Tag.Lookup(tag); ok {
				return true
			}
		}
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if f.Anonymous && hasParameters(ft, seen) {
			return true
		}
	}
	return false
}

// interfaceTags reads what concerns the interface as a whole.
func (p *plan) interfaceTags(route, prefix string, tag reflect.StructTag, bad func(string, ...any)) {
	method, path, _ := strings.Cut(route, " ")
	if !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, method) {
		bad("route %q: method %q is not one of GET, POST, PUT, PATCH, DELETE", route, method)
	}
	var err error
	if p.route, err = parseRoute(method, prefix+path); err != nil {
		bad("route %q: %v", route, err)
	}
	p.tag = tag
	checkTag(tag, interfaceTags, bad)
	if w := tag.Get("with"); w != "" {
		p.with = strings.Split(w, ",")
	}
	switch a := tag.Get("auth"); a {
	case "", "none":
	case "user":
		p.auth = true
	default:
		bad("auth %q: want user or none", a)
	}
	if l := tag.Get("level"); l != "" {
		if p.level, err = strconv.Atoi(l); err != nil || p.level < 1 || !p.auth {
			bad("level %q: want a number of at least 1, and auth", l)
		}
	}
	p.scopes = strings.Fields(tag.Get("scopes"))
	if len(p.scopes) > 0 && !p.auth {
		bad("scopes without auth")
	}
	if q := tag.Get("quota"); q == "none" {
		p.noQuota = true
	} else if q != "" {
		quotas, err := parseQuotas(q)
		if err != nil {
			bad("%v", err)
		}
		for _, q := range quotas {
			if q.asks() && !p.auth {
				bad("quota %s: the interface has no auth", q)
			}
		}
		p.quotas = quotas
	}
	if d := tag.Get("degrade"); d != "" {
		if p.steps, err = parseSteps(d); err != nil {
			bad("%v", err)
		}
		if p.steps.has[Stale] && method != http.MethodGet {
			bad("degrade %q: only a GET has replies that can be stale", d)
		}
	}
	if b := tag.Get("breaker"); b != "" {
		if p.breaker, err = parseBreaker(b); err != nil {
			bad("%v", err)
		}
	}
	if i := tag.Get("idempotent"); i != "" {
		if p.once, p.onceRequired, err = parseOnce(i); err != nil {
			bad("idempotent %q: %v", i, err)
		}
		switch {
		case method == http.MethodGet:
			bad("idempotent %q: a GET is", i)
		case !p.auth:
			bad("idempotent %q: without auth nobody can tell whose key it is", i)
		}
	}
	switch c := tag.Get("class"); c {
	case "", "normal":
		p.class = Ordinary
	case "critical":
		p.class = Critical
	case "low":
		p.class = Low
	default:
		bad("class %q: want critical, normal or low", c)
	}
	p.cost = tag.Get("cost")
	if p.etag = boolTag(tag, "etag", bad); p.etag && method != http.MethodGet {
		bad("etag: only a GET has a reply to be tagged")
	}
	boolTag(tag, "deprecated", bad)
	p.selects = tag.Get("select")
	p.trims = tag.Get("trim")
	if c := tag.Get("cache"); c != "" {
		if p.cache, err = parseCache(c); err != nil {
			bad("cache %q: %v", c, err)
		}
		if method != http.MethodGet {
			bad("cache %q: only replies to GET are kept", c)
		}
	}
	if d := tag.Get("timeout"); d != "" {
		var err error
		if p.timeout, err = time.ParseDuration(d); err != nil || p.timeout <= 0 {
			bad("timeout %q: want a positive duration", d)
		}
	}
}

// parseCache reads how long a reply may be kept. It does not say public: caches that
// others share must not take a reply that the request's Authorization may have had
// a part in, be it by middleware.
func parseCache(s string) ([]string, error) {
	if s == "none" {
		return []string{"no-store"}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d%time.Second != 0 {
		return nil, errors.New("want whole seconds, such as 30s or 5m, or none")
	}
	return []string{"max-age=" + strconv.FormatInt(int64(d/time.Second), 10)}, nil
}

// kept says of replies that may be kept whom they are for: whoever has the same headers
// that are parameters, and one caller alone if cookies are or the interface has auth.
func (p *plan) kept() {
	if p.cache == nil || p.cache[0] == "no-store" {
		return
	}
	private := p.auth
	var headers []string
	for i := range p.fields {
		switch f := &p.fields[i]; f.source {
		case fromCookie:
			private = true
		case fromHeader:
			headers = append(headers, f.name)
		}
	}
	if private {
		p.cache[0] = "private, " + p.cache[0]
	}
	if headers != nil {
		p.varies = []string{strings.Join(headers, ", ")}
	}
}

// index sorts the fields by where they come from.
func (p *plan) index(bad func(string, ...any)) {
	seen := map[string]string{}
	if p.selects != "" {
		seen[sourceTags[fromQuery]+" "+p.selects] = "select"
	}
	if p.trims != "" {
		key := sourceTags[fromQuery] + " " + p.trims
		if p.trims == p.selects {
			bad("select and trim both take %s", key)
		}
		seen[key] = "trim"
	}
	for i := range p.fields {
		f := &p.fields[i]
		f.bit = 1 << (i % maxFields)
		key := sourceTags[f.source] + " " + f.name
		if f.source == fromFile {
			key = sourceTags[fromForm] + " " + f.name
		}
		if other, twice := seen[key]; twice {
			bad("%s and %s both take %s", other, f.goName, key)
		}
		seen[key] = f.goName
		switch f.source {
		case fromQuery:
			p.query = append(p.query, i)
		case fromForm:
			p.form = append(p.form, i)
		case fromFile:
			p.files = append(p.files, i)
			p.room += f.room
		case fromBody:
			p.body = i
		case fromPath:
			if p.route == nil {
				break
			}
			if f.place = p.route.param(f.name); f.place < 0 {
				bad("%s: the route %q has no :%s", f.goName, p.route.path, f.name)
			}
			fallthrough
		default:
			p.others = append(p.others, i)
		}
		if f.required || f.hasDef || len(f.rules.list) > 0 {
			p.late = append(p.late, i)
		}
	}
	if p.body >= 0 && len(p.form)+len(p.files) > 0 {
		bad("%s is the body, but other fields come from a form", p.fields[p.body].goName)
	}
	if p.route != nil && p.route.method == http.MethodGet && p.hasBody() {
		bad("a GET has no body to take parameters from")
	}
}

// hasBody reports whether parameters come from the request's body.
func (p *plan) hasBody() bool { return p.body >= 0 || len(p.form)+len(p.files) > 0 }
