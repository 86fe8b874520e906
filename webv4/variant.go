package webv4

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// prepare notes what the reply's form depends on.
func (a *API) prepare(c *call, op *operation, r *http.Request) {
	out := c.out
	zips := a.opt.CompressFrom > 0 && !op.streams
	if op.accepts || zips {
		h := out.w.Header()
		h["Vary"] = addVary(h["Vary"], vary(op.accepts, zips))
	}
	if zips {
		out.zip, out.zipFrom = bestCoding(r.Header["Accept-Encoding"]), a.opt.CompressFrom
	}
	if op.plan.etag && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		out.tagged = r
	}
}

var (
	varyAccept   = []string{"Accept"}
	varyEncoding = []string{"Accept-Encoding"}
	varyBoth     = []string{"Accept, Accept-Encoding"}
)

// addVary puts lists together that others may share.
func addVary(list, more []string) []string {
	switch {
	case len(list) == 0:
		return more
	case slices.Contains(list, more[0]):
		return list
	}
	return slices.Concat(list, more)
}

// vary is the Vary header of a reply whose format or encoding is negotiated.
func vary(format, encoding bool) []string {
	switch {
	case format && encoding:
		return varyBoth
	case format:
		return varyAccept
	}
	return varyEncoding
}

// view is the model to write the reply by: all of it, what is left of it when
// trimmed, which the client may ask for too, of either what the client selects.
func (op *operation) view(step Level, r *http.Request) (*model, error) {
	views := picked{op.reply, op.trimmed}
	if name := op.plan.selects; name != "" {
		text, err := asked(r, name)
		if err != nil {
			return nil, err
		}
		if text != "" {
			chosen, err := op.picks.model(op.reply, text)
			if err != nil {
				return nil, Errorf(CodeInvalid, "(%s) %v, but get (%s)", name, err, shorten(text))
			}
			views = *chosen
		}
	}
	trim := step == Trim
	if name := op.plan.trims; name != "" && !trim {
		text, err := asked(r, name)
		if err != nil {
			return nil, err
		}
		if text != "" {
			if trim, err = strconv.ParseBool(text); err != nil {
				return nil, Errorf(CodeInvalid, "(%s) %v, but get (%s)", name, errBool, shorten(text))
			}
		}
	}
	if trim {
		return views.trimmed, nil
	}
	return views.all, nil
}

// asked is what the client gives a query parameter of the interface's own, "" for nothing.
func asked(r *http.Request, name string) (string, error) {
	text, ok := escapedValue(r.URL.RawQuery, name)
	if !ok {
		return "", nil
	}
	text, err := url.QueryUnescape(text)
	if err != nil {
		return "", Errorf(CodeInvalid, "(%s) is not well escaped", name)
	}
	return text, nil
}
