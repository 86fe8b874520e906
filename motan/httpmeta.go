package motan

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Metadata over HTTP is one header a pair, Motan-Meta-KEY: VALUE. Names of headers
// have no case and few characters, so that whatever else is in a key is written as
// %XX. A value that no header can hold is percent-encoded as a whole, and the name
// says so by an asterisk at its end.
const (
	// headerMeta begins the names of headers that are metadata.
	headerMeta = "Motan-Meta-"
	// The caller's group, version and application, as M_g, M_v and M_s.
	headerGroup       = "Motan-Group"
	headerVersion     = "Motan-Version"
	headerApplication = "Motan-Application"

	// encoded ends the names of headers whose values are percent-encoded.
	encoded = "*"
	// httpMetaMost bounds what metadata may take of a request's headers; servers
	// commonly refuse more than a megabyte.
	httpMetaMost = 512 << 10
)

// setHeader adds text of any kind under a name, nothing if the text is empty. Of
// texts of both kinds the last remains, which is the one that counts.
func setHeader(h http.Header, name, text string) {
	switch {
	case text == "":
	case fitsHeader(text):
		h.Del(name + encoded)
		h.Add(name, text)
	default:
		h.Del(name)
		h.Add(name+encoded, url.PathEscape(text))
	}
}

// headerText returns what setHeader stored, "" if it is not there or cannot be read.
func headerText(h http.Header, name string) string {
	if text := h.Get(name); text != "" {
		return text
	}
	text, err := url.PathUnescape(h.Get(name + encoded))
	if err != nil {
		return ""
	}
	return text
}

// fitsHeader reports that a header's value arrives as it is: printable ASCII
// without spaces around it, which are cut off.
func fitsHeader(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return text == "" || text[0] != ' ' && text[len(text)-1] != ' '
}

// metaToHeader adds encoded metadata.
func metaToHeader(h http.Header, meta []byte) error {
	if len(meta) > httpMetaMost {
		return fmt.Errorf("%w: %d bytes of metadata, limit over HTTP %d", errTooLarge, len(meta), httpMetaMost)
	}
	for _, p := range decodeMeta(meta) {
		setHeader(h, headerMeta+escapeKey(p.Key), p.Value)
	}
	return nil
}

// metaFromHeader returns the metadata among headers, sorted by key, for headers
// have no order. What WithMetadata would not take is left out, and so are values
// that cannot be read.
func metaFromHeader(h http.Header) (m Metadata) {
	for name, values := range h {
		key, ok := strings.CutPrefix(name, headerMeta)
		if !ok {
			continue
		}
		key, percent := strings.CutSuffix(key, encoded)
		key = unescapeKey(key)
		for _, value := range values {
			if percent {
				var err error
				if value, err = url.PathUnescape(value); err != nil {
					continue
				}
			}
			if checkPair(key, value) == nil {
				m = append(m, struct{ Key, Value string }{key, value})
			}
		}
	}
	slices.SortStableFunc(m, func(a, b struct{ Key, Value string }) int { return strings.Compare(a.Key, b.Key) })
	return m
}

// escapeKey writes a key so that it survives as part of a header's name.
func escapeKey(key string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// unescapeKey reads what escapeKey wrote, in any case; a key of others that is no
// escaping is taken as it is, in lower case.
func unescapeKey(name string) string {
	name = strings.ToLower(name)
	if key, err := url.PathUnescape(name); err == nil {
		return key
	}
	return name
}
