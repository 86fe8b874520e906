package webv4

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
)

// twin is a route that answers in another format than the one it is made of.
type twin struct {
	*route
	format format
}

// vet says all that is wrong with an interface beyond its request's tags: with its
// reply, with what the tags refer to, and with its routes, which it returns.
func (a *API) vet(p *plan, resp reflect.Type, site string) (rt *route, twins []twin, err error) {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", p.typ, fmt.Sprintf(format, args...)))
	}
	if p.auth && a.auth == nil {
		bad("auth without Options.Authenticator")
	}
	for _, name := range a.unknownSteps(p.with) {
		bad("no interceptor or filter %q is registered", name)
	}
	own := a.codecs(resp)
	switch {
	case writesItself(resp):
		if p.once > 0 || p.steps.has[Stale] || p.steps.has[Static] && !p.steps.fall || p.selects != "" || p.trims != "" || p.etag || p.cache != nil {
			bad("the reply writes itself: no stale, static, select, trim, cache, etag or idempotent")
		}
	case own != nil && own.json != nil:
		if p.selects != "" || p.trims != "" {
			bad("the codec for %s writes the whole reply: no select or trim", own.json.MediaTypes()[0])
		}
	default:
		m, err := modelOf(resp)
		if err != nil {
			bad("the reply: %v", err)
		}
		if p.trims != "" && !m.trims(map[*model]bool{}) {
			bad("trim %q: the reply has no field tagged trim:\"true\"", p.trims)
		}
	}
	if rt = p.route; rt != nil {
		if err := a.router.check(rt, site); err != nil {
			errs = append(errs, err)
		}
		if base, ok := strings.CutSuffix(rt.path, ".json"); ok {
			for suffix, f := range own.suffixes() {
				other, err := parseRoute(rt.method, base+suffix)
				if err == nil {
					err = a.router.check(other, site)
				}
				if err != nil {
					errs = append(errs, err)
				}
				twins = append(twins, twin{other, f})
			}
		}
	}
	return rt, twins, errors.Join(errs...)
}

// writesItself reports whether a reply of type t does.
func writesItself(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[replier]())
}

// callSite is where the application called the function that calls this.
func callSite() string {
	if _, file, line, ok := runtime.Caller(2); ok {
		return fmt.Sprintf("%s:%d", file, line)
	}
	return "an unknown place"
}
