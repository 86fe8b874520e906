package webv4

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// scope is what the interfaces of a group have in common.
type scope struct {
	prefix     string
	style      ErrorStyle
	codes      ErrorCodes
	auth       *scheme
	quotas     []*quota
	with       []string // names of interceptors and filters
	middleware []func(http.Handler) http.Handler
	degradable []*point // those outside of the interface's own
}

// GroupOptions configures Group. What is zero is as it is outside the group.
type GroupOptions struct {
	// Errors is how the group's errors look: an API's versions may differ.
	Errors ErrorStyle

	// ErrorCodes are the group's rows of the table of errors, on top of those that
	// hold outside.
	ErrorCodes ErrorCodes

	// Authenticator tells who calls the group's interfaces.
	Authenticator Authenticator

	// Quotas count all calls of the group, besides those that hold outside. Groups of
	// one path that have the same quota share it; with other limits they are refused.
	Quotas string

	// Degrade names a degrade point for all interfaces of the group that have a
	// degrade tag, besides their own.
	Degrade string

	// With names interceptors and filters that each interface of the group has,
	// besides those of its own tag.
	With []string

	// Middleware wraps the group's interfaces and mounted handlers, the first
	// outermost, inside of what wraps them already. It runs after routing.
	Middleware []func(http.Handler) http.Handler
}

// Group returns the API as seen from below a path such as /2: what is
// registered on it has that path in front and what opts say. Groups nest. It
// panics if the path is not one or opts are wrong.
func (a *API) Group(path string, opts *GroupOptions) *API {
	var o GroupOptions
	if opts != nil {
		o = *opts
	}
	g := &API{core: a.core, scope: a.scope}
	g.prefix += path
	var errs []error
	if path != "" && (!strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.ContainsAny(path, " ?#:*")) {
		errs = append(errs, errors.New("want a path such as /2, without parameters"))
	}
	if o.Errors < 0 || o.Errors > ProblemErrors {
		errs = append(errs, fmt.Errorf("GroupOptions.Errors %d: no such style", o.Errors))
	} else if o.Errors != 0 {
		g.style = o.Errors
	}
	var err error
	if g.codes, err = o.ErrorCodes.filled(a.codes); err != nil {
		errs = append(errs, fmt.Errorf("GroupOptions.%w", err))
	}
	if o.Authenticator != nil {
		g.auth = newScheme(o.Authenticator)
	}
	if o.Degrade == Everything {
		errs = append(errs, errors.New("GroupOptions.Degrade: the name * is taken"))
	} else if o.Degrade != "" {
		g.degradable = append(slices.Clone(a.degradable), a.point(o.Degrade, allLevels))
	}
	if g.quotas, err = g.sharedQuotas(a.core, o.Quotas); err != nil {
		errs = append(errs, fmt.Errorf("GroupOptions.Quotas: %w", err))
	}
	g.with = slices.Concat(a.with, o.With)
	g.middleware = slices.Concat(a.middleware, o.Middleware)
	if err := errors.Join(errs...); err != nil {
		panic(fmt.Sprintf("webv4: Group %q: %v", path, err))
	}
	a.core.groups = append(a.core.groups, g)
	return g
}

// looksOf is how errors look for a path that has no interface: as in the
// innermost group that it is below.
func (c *core) looksOf(path string) (ErrorStyle, ErrorCodes) {
	style, codes, longest := c.none.style, c.none.codes, 0
	for _, g := range c.groups {
		rest, below := strings.CutPrefix(path, g.prefix)
		if below && (rest == "" || rest[0] == '/') && len(g.prefix) >= longest {
			style, codes, longest = g.style, g.codes, len(g.prefix)
		}
	}
	return style, codes
}
