package webv4

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CORS says which pages of other origins may call from a browser (the Fetch
// standard's CORS protocol).
type CORS struct {
	// Origins are those that may, such as https://example.org; * is all.
	Origins []string

	// Headers are the request headers they may send besides the simple ones,
	// such as Authorization.
	Headers []string

	// Expose are the reply headers they may read besides the simple ones.
	Expose []string

	// Credentials lets them send cookies. It cannot go with the origin *.
	Credentials bool

	// MaxAge is how long a browser may remember the answer. 0 means 10 minutes.
	MaxAge time.Duration

	any             bool
	headers, expose []string
	age             []string
}

func (o *CORS) filled() (CORS, error) {
	out := *o
	out.any = slices.Contains(o.Origins, "*")
	var errs []error
	if len(o.Origins) == 0 {
		errs = append(errs, errors.New("webv4: Options.CORS.Origins: none"))
	}
	if out.any && o.Credentials {
		errs = append(errs, errors.New("webv4: Options.CORS: credentials for every origin"))
	}
	for _, origin := range o.Origins {
		if u, err := url.Parse(origin); origin != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Path != "") {
			errs = append(errs, fmt.Errorf("webv4: Options.CORS.Origins: %q is none", origin))
		}
	}
	if o.MaxAge < 0 {
		errs = append(errs, fmt.Errorf("webv4: Options.CORS.MaxAge %v: negative", o.MaxAge))
	}
	if out.MaxAge == 0 {
		out.MaxAge = 10 * time.Minute
	}
	out.headers = []string{strings.Join(o.Headers, ", ")}
	out.expose = []string{strings.Join(o.Expose, ", ")}
	out.age = []string{strconv.Itoa(int(out.MaxAge / time.Second))}
	return out, errors.Join(errs...)
}

var (
	anyOrigin   = []string{"*"}
	varyOrigin  = []string{"Origin"}
	allowTrue   = []string{"true"}
	varyRequest = []string{"Access-Control-Request-Method", "Access-Control-Request-Headers"}
)

// apply adds the headers for a request from a page. It answers a preflight and
// then returns true.
func (o *CORS) apply(out *reply, r *http.Request, rt *router) bool {
	h := out.w.Header()
	if !o.any {
		h["Vary"] = addVary(h["Vary"], varyOrigin)
	}
	origin := r.Header["Origin"]
	if len(origin) != 1 || !o.any && !slices.Contains(o.Origins, origin[0]) {
		return false
	}
	h["Access-Control-Allow-Origin"] = anyOrigin
	if !o.any {
		h["Access-Control-Allow-Origin"] = []string{origin[0]} // one of ours
	}
	if o.Credentials {
		h["Access-Control-Allow-Credentials"] = allowTrue
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		if len(o.Expose) > 0 {
			h["Access-Control-Expose-Headers"] = o.expose
		}
		return false
	}
	allow := rt.allowed(out, pathOf(r.URL))
	if allow == "" {
		return false
	}
	h["Vary"] = addVary(h["Vary"], varyRequest)
	h["Access-Control-Allow-Methods"] = []string{allow}
	if len(o.Headers) > 0 {
		h["Access-Control-Allow-Headers"] = o.headers
	}
	h["Access-Control-Max-Age"] = o.age
	out.WriteHeader(http.StatusNoContent)
	return true
}
