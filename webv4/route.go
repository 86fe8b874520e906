package webv4

import (
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"

	"github.com/julienschmidt/httprouter"
)

// router finds the interface for a request. Paths without parameters are in a
// map. The others are in httprouters, in layers: a route that one layer cannot
// take beside what it has goes to the next, so that httprouter's conflicts
// (other parameter names, static beside parameter) are nobody's concern. A path
// without parameters wins, then the layer that was there first.
type router struct {
	static map[string]map[string]*operation // method → path
	layers []*httprouter.Router
	routes map[string]*operation // "METHOD /path" as registered, parameters unnamed
}

func (rt *router) add(method, path string, op *operation) error {
	key := method + " " + unnamed(path)
	if other := rt.routes[key]; other != nil {
		return fmt.Errorf("route %s %s is registered twice: at %s and at %s", method, path, other.site, op.site)
	}
	if rt.routes == nil {
		rt.routes = map[string]*operation{}
		rt.static = map[string]map[string]*operation{}
	}
	rt.routes[key] = op
	if !strings.ContainsAny(path, ":*") {
		if rt.static[method] == nil {
			rt.static[method] = map[string]*operation{}
		}
		rt.static[method][path] = op
		return nil
	}
	handle := func(w http.ResponseWriter, r *http.Request, ps httprouter.Params) {
		w.(*found).op, w.(*found).params = op, ps
	}
	for _, layer := range rt.layers {
		if tryHandle(layer, method, path, handle) == nil {
			return nil
		}
	}
	layer := httprouter.New()
	if err := tryHandle(layer, method, path, handle); err != nil {
		return fmt.Errorf("route %s %s: %v", method, path, err)
	}
	rt.layers = append(rt.layers, layer)
	return nil
}

// tryHandle turns httprouter's panic about a route it cannot take into an error.
func tryHandle(r *httprouter.Router, method, path string, h httprouter.Handle) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	r.Handle(method, path, h)
	return nil
}

// unnamed replaces parameter names, since they do not tell routes apart.
func unnamed(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if p != "" && (p[0] == ':' || p[0] == '*') {
			parts[i] = p[:1]
		}
	}
	return strings.Join(parts, "/")
}

// found carries the result out of a httprouter handle.
type found struct {
	http.ResponseWriter
	op     *operation
	params httprouter.Params
}

// find returns the operation for a request; nil if there is none.
func (rt *router) find(method, path string) (*operation, httprouter.Params) {
	if op := rt.static[method][path]; op != nil {
		return op, nil
	}
	for _, layer := range rt.layers {
		if h, params, _ := layer.Lookup(method, path); h != nil {
			f := &found{}
			h(f, nil, params)
			return f.op, f.params
		}
	}
	if method == http.MethodHead {
		return rt.find(http.MethodGet, path)
	}
	return nil, nil
}

// allowed lists the methods that path has, for the Allow header; empty if there
// is no such path.
func (rt *router) allowed(path string) string {
	var list []string
	for _, m := range [...]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if op, _ := rt.find(m, path); op != nil {
			list = append(list, m)
			if m == http.MethodGet {
				list = append(list, http.MethodHead)
			}
		}
	}
	if len(list) == 0 {
		return ""
	}
	list = append(list, http.MethodOptions)
	sort.Strings(list)
	return strings.Join(slices.Compact(list), ", ")
}
