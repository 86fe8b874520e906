package webv4

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// format is what a reply is written in.
type format uint8

const (
	asJSON format = iota
	asXML
	asMsgpack
	asCodec // the first of the interface's codecs, and so on
)

var formatTypes = [asCodec][]string{jsonType, xmlType, {"application/msgpack"}}

// acceptable are the media types that ask for a format.
var acceptable = map[string]format{
	"application/json": asJSON, "application/*": asJSON, "*/*": asJSON, "text/json": asJSON,
	"application/xml": asXML, "text/xml": asXML,
	"application/msgpack": asMsgpack, "application/x-msgpack": asMsgpack, "application/vnd.msgpack": asMsgpack,
}

// maxAccept bounds how many members of an Accept header are looked at.
const maxAccept = 32

// negotiate picks a format by an Accept header (RFC 9110, 12.5.1): of those with
// the highest weight the first. Without a match it is JSON: a reply in another
// format helps more than none.
func negotiate(accept []string, own *codecs) format {
	best, bestWeight := asJSON, 0
	n := 0
	for _, line := range accept {
		for line != "" {
			var member string
			member, line, _ = strings.Cut(line, ",")
			if n++; n > maxAccept {
				return best
			}
			kind, params, _ := strings.Cut(member, ";")
			f, ok := own.format(strings.ToLower(strings.TrimSpace(kind)))
			if !ok {
				continue
			}
			if w := weight(params); w > bestWeight {
				best, bestWeight = f, w
			}
		}
	}
	return best
}

// weight reads the parameter q in thousandths; 1000 if there is none, 0 if it
// makes no sense.
func weight(params string) int {
	for params != "" {
		var p string
		p, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return int(q * 1000)
	}
	return 1000
}

// etag is a validator of a body: its hash and length.
func etag(body []byte) string {
	b := append(make([]byte, 0, 32), '"')
	b = strconv.AppendUint(b, xxhash.Sum64(body), 36)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(len(body)), 36)
	return string(append(b, '"'))
}

// matches reports whether an If-Match or If-None-Match header names the tag.
// Weak tags count as strong ones for If-None-Match (RFC 9110, 13.1.2).
func matches(lines []string, tag string, weak bool) bool {
	if tag == "" {
		return false
	}
	for _, line := range lines {
		for line != "" {
			var member string
			member, line, _ = strings.Cut(line, ",")
			member = strings.TrimSpace(member)
			if weak {
				member = strings.TrimPrefix(member, "W/")
			}
			if member == "*" || member == tag || weak && member == strings.TrimPrefix(tag, "W/") {
				return true
			}
		}
	}
	return false
}

// notModified answers 304 if the client has the reply already.
func (o *reply) notModified(r *http.Request, body []byte) bool {
	h := o.w.Header()
	tag := h.Get("Etag")
	if tag == "" {
		tag = etag(body)
		if o.zipFrom > 0 {
			tag = "W/" + tag // the same for what is compressed and what is not
		}
		h["Etag"] = []string{tag}
	}
	if !matches(r.Header["If-None-Match"], tag, true) {
		return false
	}
	o.WriteHeader(http.StatusNotModified)
	return true
}
