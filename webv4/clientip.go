package webv4

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// clientIP is who is at the other end, behind the proxies that are trusted.
func (a *API) clientIP(r *http.Request) string {
	host, trusted := a.peer(r)
	if !trusted {
		return host
	}
	// Right to left: each trusted proxy vouches for the one before it.
	lines := r.Header["X-Forwarded-For"]
	for hops := 0; len(lines) > 0 && hops < maxHops; hops++ {
		line := lines[len(lines)-1]
		comma := strings.LastIndexByte(line, ',')
		hop := strings.TrimSpace(line[comma+1:])
		addr, err := netip.ParseAddr(hop)
		if err != nil {
			return host
		}
		if host = addr.Unmap().String(); !a.trusted(host) {
			return host
		}
		if comma < 0 {
			lines = lines[:len(lines)-1]
		} else {
			lines = append(lines[:len(lines)-1:len(lines)-1], line[:comma])
		}
	}
	return host
}

// peer is the address at the other end of the connection, and whether it is a proxy whose
// headers are believed.
func (a *API) peer(r *http.Request) (host string, trusted bool) {
	host = hostOf(r)
	if host == "" {
		return "", a.opt.TrustUnix && overUnix(r)
	}
	return host, len(a.opt.TrustedProxies) > 0 && a.trusted(host)
}

// hostOf is the address at the other end of the connection, "" if it has none. What is at
// the other end of a unix socket calls itself what it likes: also 127.0.0.1:80.
func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || overUnix(r) {
		return ""
	}
	return host
}

// overUnix reports whether the request came over a unix socket.
func overUnix(r *http.Request) bool {
	_, unix := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr)
	return unix
}

// maxHops bounds how many proxies in a row are believed.
const maxHops = 16

func (a *API) trusted(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, p := range a.opt.TrustedProxies {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}
