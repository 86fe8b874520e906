package webv4

import (
	"net/url"
	"strings"
)

// A slash that is escaped in a request's path, as %2F, belongs to the segment that it
// is in, as in net/http's mux. For routing a NUL stands for it, which no path has that
// is routed so.

const escapedSlash = "\x00"

// pathOf is the path of a URL as routes see it.
func pathOf(u *url.URL) string {
	if u.RawPath == "" || strings.Contains(u.Path, escapedSlash) {
		return u.Path
	}
	raw := strings.ReplaceAll(strings.ReplaceAll(u.RawPath, "%2F", "%00"), "%2f", "%00")
	path, err := url.PathUnescape(raw)
	if err != nil || strings.ReplaceAll(path, escapedSlash, "/") != u.Path {
		return u.Path // somebody changed one of them
	}
	return path
}

// findEscaped is find for a URL that is escaped in its own way.
func (t *router) findEscaped(out *reply, method string, u *url.URL) *operation {
	path := pathOf(u)
	op := t.find(out, method, path)
	if op != nil && path != u.Path {
		for i, value := range out.path {
			out.path[i] = strings.ReplaceAll(value, escapedSlash, "/")
		}
	}
	return op
}
