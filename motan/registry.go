package motan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Endpoint is one node that offers a service.
type Endpoint struct {
	Addr   string // host:port, unix:PATH for a socket of this machine, or http://host:port (https too) for an HTTPHandler
	Weight int    // share of the calls relative to the others; 0 and less mean 10, at most 500

	server    *Server // of InProcess
	memcached bool    // of MC
}

func weightOf(e Endpoint) int {
	if e.Weight <= 0 {
		return 10
	}
	return min(e.Weight, 500)
}

func isURL(addr string) bool {
	return strings.HasPrefix(addr, "http://") || strings.HasPrefix(addr, "https://")
}

func checkAddr(addr string) error {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		if strings.TrimPrefix(path, "//") == "" {
			return fmt.Errorf("motan: endpoint %q: no path", addr)
		}
		return nil
	}
	if isURL(addr) {
		if u, err := url.Parse(addr); err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("motan: endpoint %q: want http://host:port", addr)
		}
		return nil
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("motan: endpoint %q: %w", addr, err)
	}
	return nil
}

// checkCallable is checkAddr for addresses that others are to call.
func checkCallable(addr string) error {
	if err := checkAddr(addr); err != nil || strings.HasPrefix(addr, "unix:") {
		return err
	}
	at := addr
	if isURL(addr) {
		u, err := url.Parse(addr)
		if err != nil {
			return err // cannot be: checkAddr has read it
		}
		if at = u.Host; u.Port() == "" {
			at = net.JoinHostPort(u.Hostname(), "80")
		}
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return fmt.Errorf("motan: announce %q: %w", addr, err)
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
		return fmt.Errorf("motan: announce %q: no port that can be called; give the one that the listener has got", addr)
	}
	if ip := net.ParseIP(strings.Split(host, "%")[0]); host == "" || ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("motan: announce %q: no host that others can call; give this machine's name or address", addr)
	}
	return nil
}

// Registry tells a client where a service is. The rules:
//
//  1. Watch calls update with the whole current list before it returns nil,
//     and again with the whole list after each change, never twice at once.
//  2. It returns an error, and never calls update again, if it cannot give a
//     first list.
//  3. When ctx is done, calls of update stop; one that is under way finishes.
//  4. The list belongs to the callee of update.
//  5. Watch may be called by many clients at once.
type Registry interface {
	Watch(ctx context.Context, service, group, version string, update func([]Endpoint)) error
}

// Static is a Registry of endpoints that never change, each host:port or unix:PATH.
func Static(addrs ...string) Registry { return static(addrs) }

type static []string

func (s static) Watch(_ context.Context, _, _, _ string, update func([]Endpoint)) error {
	var errs []error
	list := make([]Endpoint, 0, len(s))
	for _, a := range s {
		if err := checkAddr(a); err != nil {
			errs = append(errs, err)
		}
		if e := (Endpoint{Addr: a}); !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	if len(s) == 0 {
		errs = append(errs, errors.New("motan: no endpoints given"))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	update(list)
	return nil
}
