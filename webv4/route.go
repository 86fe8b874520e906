package webv4

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/julienschmidt/httprouter"
)

// router finds the interface for a request. Paths without parameters, and those
// whose last segment alone is one, are in maps. The others are in httprouters, in
// layers, so that its conflicts are nobody's concern: parameters are named by
// their place in the path, so names never clash; routes that one tree cannot hold
// beside each other go to different layers, of two that fit the same path the more
// specific to an earlier one.
type router struct {
	routes map[string]*route // by route.key
	list   []*route          // in the order of registration

	once    sync.Once
	built   bool
	methods []methodRoutes
	layers  []*httprouter.Router
}

// methodRoutes are the routes of a method that maps hold. What they find is more
// specific than what layers would.
type methodRoutes struct {
	method string
	static map[string]*operation // by path
	ends   map[string]*leaf      // of one parameter, at the end, by what stands before it
}

// route is a registered path, taken apart.
type route struct {
	method, path string
	segments     []segment
	names        []string // of the parameters, by place
	op           *operation
}

type segmentKind int

// From most to least specific.
const (
	isStatic segmentKind = iota
	isSuffixed
	isParam
	isCatchAll
)

// segment is what stands between two slashes.
type segment struct {
	kind segmentKind
	text string // the static text, or what follows the parameter: ".json"
}

func parseRoute(method, path string) (*route, error) {
	rt := &route{method: method, path: path}
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " ?#%") {
		return nil, fmt.Errorf("path %q: want a / first, and no space, ?, # or %%: letters are given as they are", path)
	}
	parts := strings.Split(path[1:], "/")
	for i, part := range parts {
		last := i == len(parts)-1
		if part == "" && !last || part == "." || part == ".." {
			return nil, fmt.Errorf("path %q: segment %q can never be asked for", path, part)
		}
		at := strings.IndexAny(part, ":*")
		if at < 0 {
			rt.segments = append(rt.segments, segment{isStatic, part})
			continue
		}
		name, suffix := part[1:], ""
		if dot := strings.IndexByte(name, '.'); dot >= 0 && part[0] == ':' {
			name, suffix = name[:dot], name[dot:]
		}
		switch {
		case at > 0 || name == "" || strings.ContainsAny(name+suffix, ":*"):
			return nil, fmt.Errorf("path %q: segment %q: want text, :name, :name.suffix or *name", path, part)
		case (suffix != "" || part[0] == '*') && !last:
			return nil, fmt.Errorf("path %q: segment %q can only be the last", path, part)
		case slices.Contains(rt.names, name):
			return nil, fmt.Errorf("path %q has two parameters %s", path, name)
		}
		rt.names = append(rt.names, name)
		kind := isParam
		if part[0] == '*' {
			kind = isCatchAll
		} else if suffix != "" {
			kind = isSuffixed
		}
		rt.segments = append(rt.segments, segment{kind, suffix})
	}
	return rt, nil
}

// pattern is the path for httprouter: parameters named by place, suffix left out.
func (rt *route) pattern() string {
	var b strings.Builder
	n := 0
	for _, s := range rt.segments {
		b.WriteByte('/')
		switch s.kind {
		case isStatic:
			b.WriteString(s.text)
			continue
		case isCatchAll:
			b.WriteByte('*')
		default:
			b.WriteByte(':')
		}
		b.WriteString("p" + strconv.Itoa(n))
		n++
	}
	return b.String()
}

// key tells routes apart: parameter names do not.
func (rt *route) key() string {
	key := rt.method + " " + rt.pattern()
	if s := rt.segments[len(rt.segments)-1]; s.kind == isSuffixed {
		key += s.text
	}
	return key
}

// param is the place of the parameter of that name, -1 if there is none.
func (rt *route) param(name string) int { return slices.Index(rt.names, name) }

// overlaps reports whether some path may fit both routes.
func (rt *route) overlaps(other *route) bool {
	for i, s := range rt.segments {
		if i >= len(other.segments) {
			return false
		}
		o := other.segments[i]
		if s.kind == isCatchAll || o.kind == isCatchAll {
			return true
		}
		if s.kind == isStatic && o.kind == isStatic && s.text != o.text {
			return false
		}
	}
	return len(rt.segments) == len(other.segments) || other.segments[len(rt.segments)].kind == isCatchAll
}

// compareRoutes orders by specificity, segment by segment.
func compareRoutes(a, b *route) int {
	for i := range min(len(a.segments), len(b.segments)) {
		if d := a.segments[i].kind - b.segments[i].kind; d != 0 {
			return int(d)
		}
	}
	return len(b.segments) - len(a.segments)
}

// check reports why a route cannot be registered at a place in the application.
func (t *router) check(rt *route, site string) error {
	if t.built {
		return fmt.Errorf("route %s %s: registered after the first request", rt.method, rt.path)
	}
	if other := t.routes[rt.key()]; other != nil {
		return fmt.Errorf("route %s %s is registered twice: at %s and at %s", rt.method, rt.path, other.op.site, site)
	}
	if len(rt.names) > 0 {
		// httprouter may refuse it for reasons of its own: say so now.
		if err := tryHandle(httprouter.New(), rt, &leaf{}); err != nil {
			return fmt.Errorf("route %s %s: %v", rt.method, rt.path, err)
		}
	}
	return nil
}

// add takes a route that check has nothing against.
func (t *router) add(rt *route) {
	if t.routes == nil {
		t.routes = map[string]*route{}
	}
	t.routes[rt.key()] = rt
	t.list = append(t.list, rt)
}

// leaf holds the routes that differ in their last parameter's suffix only,
// those with a suffix first.
type leaf struct{ routes []*route }

// fit is the route for what stands in the last parameter's place, nil if there is
// none, and that parameter's value.
func (l *leaf) fit(last string) (*route, string) {
	for _, rt := range l.routes {
		s := rt.segments[len(rt.segments)-1]
		if s.kind != isSuffixed {
			return rt, last
		}
		if value, ok := strings.CutSuffix(last, s.text); ok && value != "" {
			return rt, value
		}
	}
	return nil, ""
}

// build makes the maps and the layers, before the first request is routed.
func (t *router) build() {
	t.built = true
	list := slices.Clone(t.list)
	slices.SortStableFunc(list, compareRoutes)
	leaves := map[string]*leaf{}
	placed := map[*route]int{}
	for _, rt := range list {
		if t.of(rt.method).hold(rt) {
			continue
		}
		name := rt.method + " " + rt.pattern()
		if l := leaves[name]; l != nil {
			l.routes = append(l.routes, rt)
			placed[rt] = placed[l.routes[0]]
			continue
		}
		l := &leaf{routes: []*route{rt}}
		leaves[name] = l
		at := 0
		for other, layer := range placed {
			if other.method == rt.method && other.overlaps(rt) {
				at = max(at, layer)
			}
		}
		for ; ; at++ {
			if at == len(t.layers) {
				t.layers = append(t.layers, httprouter.New())
			}
			if tryHandle(t.layers[at], rt, l) == nil {
				break
			}
		}
		placed[rt] = at
	}
}

// of returns the maps of a method, making them the first time.
func (t *router) of(method string) *methodRoutes {
	for i := range t.methods {
		if t.methods[i].method == method {
			return &t.methods[i]
		}
	}
	t.methods = append(t.methods, methodRoutes{method, map[string]*operation{}, map[string]*leaf{}})
	return &t.methods[len(t.methods)-1]
}

// hold takes a route if it is one for the maps.
func (m *methodRoutes) hold(rt *route) bool {
	last := rt.segments[len(rt.segments)-1].kind
	switch {
	case len(rt.names) == 0:
		m.static[rt.path] = rt.op
		return true
	case len(rt.names) > 1 || last != isSuffixed && last != isParam:
		return false
	}
	before := rt.path[:strings.LastIndexByte(rt.path, '/')+1]
	if m.ends[before] == nil {
		m.ends[before] = &leaf{}
	}
	m.ends[before].routes = append(m.ends[before].routes, rt)
	return true
}

// tryHandle turns httprouter's panic about a route that it cannot hold into an
// error. A route whose insertion fails has changed nothing that lookups see.
func tryHandle(r *httprouter.Router, rt *route, l *leaf) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New(fmt.Sprint(p))
		}
	}()
	r.Handle(rt.method, rt.pattern(), func(w http.ResponseWriter, _ *http.Request, params httprouter.Params) {
		w.(*reply).leaf = l
	})
	return nil
}

// find returns the operation for a request, nil if there is none. It leaves the
// values of its path's parameters in out, by place.
func (t *router) find(out *reply, method, path string) *operation {
	t.once.Do(t.build)
	for i := range t.methods {
		m := &t.methods[i]
		if m.method != method {
			continue
		}
		if op := m.static[path]; op != nil {
			return op
		}
		slash := strings.LastIndexByte(path, '/') + 1
		if slash == len(path) {
			break // no parameter is empty
		}
		if l := m.ends[path[:slash]]; l != nil {
			if rt, value := l.fit(path[slash:]); rt != nil {
				out.path = append(out.path[:0], value)
				return rt.op
			}
		}
		break
	}
	for _, layer := range t.layers {
		h, params, _ := layer.Lookup(method, path)
		if h == nil {
			continue
		}
		h(out, nil, nil)
		last := len(params) - 1
		rt, value := out.leaf.fit(params[last].Value)
		if rt == nil {
			continue
		}
		out.path = out.path[:0]
		for _, p := range params[:last] {
			out.path = append(out.path, p.Value)
		}
		if rt.segments[len(rt.segments)-1].kind == isCatchAll {
			value = strings.TrimPrefix(value, "/")
		}
		out.path = append(out.path, value)
		return rt.op
	}
	if method == http.MethodHead {
		return t.find(out, http.MethodGet, path)
	}
	return nil
}

var methods = [...]string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPost, http.MethodPut}

// allowed lists the methods that path has, for the Allow header; empty if there
// is no such path. It uses out as find does.
func (t *router) allowed(out *reply, path string) string {
	t.once.Do(t.build)
	var list []string
	for i := range t.methods {
		if m := t.methods[i].method; t.find(out, m, path) != nil {
			list = append(list, m)
		}
	}
	if len(list) == 0 {
		return ""
	}
	if slices.Contains(list, http.MethodGet) {
		list = append(list, http.MethodHead)
	}
	list = append(list, http.MethodOptions)
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ", ")
}
