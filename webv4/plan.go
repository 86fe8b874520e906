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
	"unsafe"
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
	method, path string
	auth         bool
	scopes       []string
	quotas       []*quota
	noQuota      bool
	degrade      string // the switch's name, "" for none
	fallback     bool
	timeout      time.Duration

	fields []field
	query  []int // indexes into fields, by source
	form   []int
	others []int // path, header, cookie
	body   int   // index of the body field, -1 for none
	files  []int
}

// field is one parameter.
type field struct {
	goName   string
	name     string
	source   source
	offset   uintptr
	set      setter
	optional uintptr // offset of Opt.Set, if isOpt
	isOpt    bool
	list     bool
	required bool
	def      string
	hasDef   bool
	rules    rules
	maxSize  int64
	typ      reflect.Type
	bit      uint64 // in the mask of parameters seen
}

// maxFields is what the mask of parameters seen has bits for.
const maxFields = 64

// compile reads the tags of a request struct. All that is wrong is reported together.
func compile(t reflect.Type) (*plan, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("request type %s: want a struct", t)
	}
	p := &plan{body: -1}
	var errs []error
	declared := false
	for i := range t.NumField() {
		f := t.Field(i)
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s.%s: %s", t, f.Name, fmt.Sprintf(format, args...)))
		}
		if f.Name == "_" {
			if route, ok := f.Tag.Lookup("route"); ok {
				declared = true
				p.interfaceTags(route, f.Tag, bad)
			}
			continue
		}
		p.fieldTags(f, bad)
	}
	if !declared {
		errs = append(errs, fmt.Errorf("%s: no field `_ struct{}` with a route tag, such as route:\"GET /2/things.json\"", t))
	}
	if len(p.fields) > maxFields {
		errs = append(errs, fmt.Errorf("%s: %d parameters, limit %d", t, len(p.fields), maxFields))
	}
	p.index(t, &errs)
	return p, errors.Join(errs...)
}

// interfaceTags reads what concerns the interface as a whole.
func (p *plan) interfaceTags(route string, tag reflect.StructTag, bad func(string, ...any)) {
	method, path, ok := strings.Cut(route, " ")
	if !ok || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " ?#") {
		bad("route %q: want a method, a space and a path", route)
	}
	if !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, method) {
		bad("route %q: method %q is not one of GET, POST, PUT, PATCH, DELETE", route, method)
	}
	p.method, p.path = method, path
	switch a := tag.Get("auth"); a {
	case "", "none":
	case "user":
		p.auth = true
	default:
		bad("auth %q: want user or none", a)
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
			if q.by == byUser && !p.auth {
				bad("quota %s: the interface has no auth", q)
			}
		}
		p.quotas = quotas
	}
	if d := tag.Get("degrade"); d != "" {
		name, action, _ := strings.Cut(d, "=")
		if name == "" || action != "off" && action != "fallback" {
			bad("degrade %q: want SWITCH=off or SWITCH=fallback", d)
		}
		p.degrade, p.fallback = name, action == "fallback"
	}
	if d := tag.Get("timeout"); d != "" {
		var err error
		if p.timeout, err = time.ParseDuration(d); err != nil || p.timeout <= 0 {
			bad("timeout %q: want a positive duration", d)
		}
	}
}

// fieldTags reads one parameter's tags.
func (p *plan) fieldTags(sf reflect.StructField, bad func(string, ...any)) {
	f := field{goName: sf.Name, offset: sf.Offset, typ: sf.Type, source: -1}
	for s, tag := range sourceTags {
		name, ok := sf.Tag.Lookup(tag)
		if !ok {
			continue
		}
		if f.source >= 0 {
			bad("comes from both %s and %s", sourceTags[f.source], tag)
		}
		f.source, f.name = source(s), name
		if name == "" && source(s) != fromBody {
			bad("%s tag without a name", tag)
		}
	}
	if f.source < 0 {
		if sf.IsExported() && sf.Tag != "" {
			bad("has tags but none of %s", strings.Join(sourceTags[:], ", "))
		}
		return
	}
	if !sf.IsExported() {
		bad("is not exported")
	}
	if f.source == fromHeader {
		f.name = http.CanonicalHeaderKey(f.name)
	}
	switch f.source {
	case fromBody:
	case fromFile:
		if sf.Type != reflect.TypeFor[*File]() {
			bad("type %s: a file needs *webv4.File", sf.Type)
		}
		f.maxSize = 1 << 20
		if s := sf.Tag.Get("maxSize"); s != "" {
			var err error
			if f.maxSize, err = parseSize(s); err != nil {
				bad("maxSize %q: %v", s, err)
			}
		}
	default:
		t := sf.Type
		if inner, value, set, ok := optType(t); ok {
			f.isOpt, f.optional, t = true, sf.Offset+set, inner
			f.offset += value
		}
		if t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8 {
			f.list = true
		}
		var err error
		if f.set, err = setterOf(t); err != nil {
			bad("%v", err)
			return
		}
		f.rules.read(sf.Tag, t, bad)
		if f.def, f.hasDef = sf.Tag.Lookup("default"); f.hasDef {
			probe := reflect.New(t)
			if err := f.apply(probe.UnsafePointer(), f.def); err != nil {
				bad("default %q: %v", f.def, err)
			}
		}
	}
	if r := sf.Tag.Get("required"); r != "" {
		var err error
		if f.required, err = strconv.ParseBool(r); err != nil {
			bad("required %q: want true or false", r)
		}
	}
	if f.required && f.hasDef {
		bad("is required and has a default")
	}
	p.fields = append(p.fields, f)
}

// apply parses a value and checks it against the rules.
func (f *field) apply(at unsafe.Pointer, value string) error {
	if err := f.set(at, value); err != nil {
		return err
	}
	return f.rules.check(value)
}

// index sorts the fields by where they come from.
func (p *plan) index(t reflect.Type, errs *[]error) {
	seen := map[string]string{}
	for i := range p.fields {
		f := &p.fields[i]
		f.bit = 1 << (i % maxFields)
		key := sourceTags[f.source] + " " + f.name
		if f.source == fromFile {
			key = sourceTags[fromForm] + " " + f.name
		}
		if other, twice := seen[key]; twice {
			*errs = append(*errs, fmt.Errorf("%s: %s and %s both take %s", t, other, f.goName, key))
		}
		seen[key] = f.goName
		switch f.source {
		case fromQuery:
			p.query = append(p.query, i)
		case fromForm:
			p.form = append(p.form, i)
		case fromFile:
			p.files = append(p.files, i)
		case fromBody:
			if p.body >= 0 {
				*errs = append(*errs, fmt.Errorf("%s: %s and %s are both the body", t, p.fields[p.body].goName, f.goName))
			}
			p.body = i
		default:
			if f.source == fromPath && !strings.Contains(p.path+"/", ":"+f.name+"/") && !strings.HasSuffix(p.path, "*"+f.name) {
				*errs = append(*errs, fmt.Errorf("%s.%s: the route %q has no :%s", t, f.goName, p.path, f.name))
			}
			p.others = append(p.others, i)
		}
	}
	if p.body >= 0 && len(p.form)+len(p.files) > 0 {
		*errs = append(*errs, fmt.Errorf("%s: %s is the body, but other fields come from a form", t, p.fields[p.body].goName))
	}
	if p.method == http.MethodGet && (p.body >= 0 || len(p.form)+len(p.files) > 0) {
		*errs = append(*errs, fmt.Errorf("%s: a GET has no body to take parameters from", t))
	}
}

// hasBody reports whether parameters come from the request's body.
func (p *plan) hasBody() bool { return p.body >= 0 || len(p.form)+len(p.files) > 0 }

// optType tells whether t is an Opt and where its parts are.
func optType(t reflect.Type) (inner reflect.Type, value, set uintptr, ok bool) {
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[Opt[int]]().PkgPath() || !strings.HasPrefix(t.Name(), "Opt[") {
		return nil, 0, 0, false
	}
	v, _ := t.FieldByName("Value")
	s, _ := t.FieldByName("Set")
	return v.Type, v.Offset, s.Offset, true
}

// parseSize reads a number of bytes such as 512, 64KiB or 5MiB.
func parseSize(s string) (int64, error) {
	for _, u := range []struct {
		suffix string
		factor int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"", 1}} {
		if digits, ok := strings.CutSuffix(s, u.suffix); ok {
			n, err := strconv.ParseInt(digits, 10, 32)
			if err != nil || n <= 0 {
				return 0, errors.New("want a size such as 512, 64KiB or 5MiB")
			}
			return n * u.factor, nil
		}
	}
	return 0, nil
}
