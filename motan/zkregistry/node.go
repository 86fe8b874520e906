package zkregistry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/heddle-go/heddle/motan"
)

// node is what a node of a service says.
type node struct {
	protocol string
	addr     string // host:port
	service  string
	group    string
	version  string
	kind     string // nodeType
	weight   int
}

// maxNode bounds the contents of a node; ZooKeeper's own bound is 1 MiB.
const maxNode = 64 << 10

var errNode = errors.New("zkregistry: node")

// plain undoes Java's serialization of a string; other contents stay as they are.
func plain(b []byte) (string, error) {
	const stream, short, long = "\xac\xed\x00\x05", 't', '|'
	rest, ok := strings.CutPrefix(string(b), stream)
	if !ok {
		return string(b), nil
	}
	if rest == "" {
		return "", fmt.Errorf("%w: a Java stream that holds nothing", errNode)
	}
	var n uint64
	switch body := rest[1:]; {
	case rest[0] == short && len(body) >= 2:
		n, rest = uint64(binary.BigEndian.Uint16([]byte(body))), body[2:]
	case rest[0] == long && len(body) >= 8:
		n, rest = binary.BigEndian.Uint64([]byte(body)), body[8:]
	default:
		return "", fmt.Errorf("%w: a Java stream that holds no string", errNode)
	}
	if n != uint64(len(rest)) {
		return "", fmt.Errorf("%w: a Java string of %d bytes in %d", errNode, n, len(rest))
	}
	return rest, nil
}

// java is Java's serialization of a string.
func java(s string) []byte {
	b := []byte("\xac\xed\x00\x05t")
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// parseNode reads a node; name is its last path element. Contents that cannot be
// read are made up for by the name.
func parseNode(name string, content []byte) (n node, err error) {
	if len(content) > maxNode {
		return n, fmt.Errorf("%w %s: %d bytes", errNode, name, len(content))
	}
	text, err := plain(content)
	if err == nil && strings.TrimSpace(text) != "" {
		n, err = parseURL(strings.TrimSpace(text))
		if err == nil {
			return n, nil
		}
	}
	host, port, perr := net.SplitHostPort(name)
	if perr != nil {
		if !strings.Contains(name, ":") && name != "" {
			host, port, perr = name, "80", nil // Motan's default
		}
	}
	if perr != nil || host == "" {
		return n, errors.Join(err, fmt.Errorf("%w: name %q is no host:port", errNode, name))
	}
	return node{protocol: "motan2", addr: net.JoinHostPort(host, port), kind: "service"}, nil
}

// parseURL reads a URL as motan-go and Java write it, the one without escapes, the
// other with them and with an & at the end.
func parseURL(s string) (n node, err error) {
	protocol, rest, ok := strings.Cut(s, "://")
	if !ok || protocol == "" {
		return n, fmt.Errorf("%w: %q is no URL", errNode, shorten(s))
	}
	rest, query, _ := strings.Cut(rest, "?")
	addr, service, _ := strings.Cut(rest, "/")
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return n, fmt.Errorf("%w: %q: %w", errNode, shorten(s), err)
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 || host == "" {
		return n, fmt.Errorf("%w: %q: no host and port", errNode, shorten(s))
	}
	n = node{protocol: protocol, addr: net.JoinHostPort(host, port), service: service}
	for pair := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(pair, "=")
		if u, err := url.QueryUnescape(v); err == nil {
			v = u
		}
		switch k {
		case "group":
			n.group = v
		case "version":
			n.version = v
		case "nodeType":
			n.kind = v
		case "weight":
			if w, err := strconv.Atoi(v); err == nil {
				n.weight = w
			}
		}
	}
	return n, nil
}

func shorten(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

// fits reports whether a client may call the node: it speaks Motan2, is a server,
// and has the version.
func (n node) fits(service, version string) bool {
	return n.protocol == "motan2" && (n.service == "" || n.service == service) && (n.kind == "" || n.kind == "service") &&
		(n.version == "" || n.version == version || n.version == "0.1" && version == "1.0")
}

// formatNode is what Announce writes: the shape of motan-go with reserved
// characters escaped, which both read.
func formatNode(o motan.Offer, application string) string {
	var b strings.Builder
	b.WriteString("motan2://" + o.Addr + "/" + o.Service + "?group=" + url.QueryEscape(o.Group))
	for _, p := range [...][2]string{{"application", application}, {"nodeType", "service"}, {"serialization", "simple"}, {"version", o.Version}} {
		if p[1] != "" {
			b.WriteString("&" + p[0] + "=" + url.QueryEscape(p[1]))
		}
	}
	if o.Weight > 0 {
		b.WriteString("&weight=" + strconv.Itoa(o.Weight))
	}
	return b.String()
}
