package webv4

import (
	"iter"
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

// acceptable are the media types of the formats that are built in.
var acceptable = map[string]format{
	"application/json": asJSON, "text/json": asJSON,
	"application/xml": asXML, "text/xml": asXML,
	"application/msgpack": asMsgpack, "application/x-msgpack": asMsgpack, "application/vnd.msgpack": asMsgpack,
}

// maxAccept bounds how many members of Accept and Accept-Encoding are looked at.
const maxAccept = 32

// preference is what a header says of a format or coding: its weight, and where.
type preference struct {
	weight int // in thousandths, and 1 more; 0: nothing is said
	at     int
}

// negotiate picks a format by an Accept header (RFC 9110, 12.5.1). What it says of a
// media type itself counts, else of application/*, else of */*. Of those with the
// highest weight it is the first named. Without a match it is JSON: a reply in another
// format helps more than none.
func negotiate(accept []string, own *codecs) format {
	if len(accept) == 0 {
		return asJSON
	}
	var named [16]preference
	var application, all preference
	for at, member := range members(accept) {
		kind, params, _ := strings.Cut(member, ";")
		said := preference{1 + weight(params), at}
		switch kind = strings.ToLower(strings.TrimSpace(kind)); kind {
		case "*/*":
			all = said
		case "application/*":
			application = said
		default:
			if f, ok := own.format(kind); ok && int(f) < len(named) && said.weight > named[f].weight {
				named[f] = said
			}
		}
	}
	best, most := asJSON, preference{weight: 1}
	for f := range min(own.formats(), len(named)) {
		said := named[f]
		if said.weight == 0 && application.weight > 0 && strings.HasPrefix(own.contentType(format(f))[0], "application/") {
			said = application
		}
		if said.weight == 0 {
			said = all
		}
		if said.weight > most.weight || said.weight == most.weight && said.at < most.at {
			best, most = format(f), said
		}
	}
	return best
}

// members are those of a list in a header, the first maxAccept, by place.
func members(lines []string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		n := 0
		for _, line := range lines {
			for line != "" && n < maxAccept {
				var member string
				member, line, _ = strings.Cut(line, ",")
				if !yield(n, member) {
					return
				}
				n++
			}
		}
	}
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
