package zkregistry

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
)

// subscribed makes it known who watches a service, for Motan's tools, as long as
// ctx is not done: an ephemeral node beside those of the servers. All watches of
// this registry for the service share one.
func (r *Registry) subscribed(ctx context.Context, service, group, version string) {
	servers, err := servicePath(group, service)
	if err != nil {
		return // Watch has told
	}
	// Several processes of a host would take the node HOST:0 from each other.
	path := fmt.Sprintf("%s/client/%s:%d", strings.TrimSuffix(servers, "/server"), r.opt.LocalHost, os.Getpid())
	r.mu.Lock()
	a := r.announced[path]
	if a == nil {
		a = &announced{path: path, content: []byte(r.formatClient(service, group, version)), client: true}
		if r.opt.Java {
			a.content = java(string(a.content))
		}
		r.announced[path] = a
	}
	a.uses++
	first := a.uses == 1
	r.mu.Unlock()
	for try := 0; first; try++ {
		if err := r.create(a); err == nil {
			break
		}
		r.stats.failures.Add(1)
		if !r.again(ctx, try) {
			break
		}
	}
	select {
	case <-ctx.Done():
	case <-r.ctx.Done():
		return // the node goes with the session
	}
	r.mu.Lock()
	a.uses--
	last := a.uses == 0
	if last {
		delete(r.announced, path)
	}
	r.mu.Unlock()
	if !last {
		return
	}
	if err := r.remove(path); err != nil {
		r.stats.failures.Add(1)
	}
}

// formatClient is what the node of a client holds.
func (r *Registry) formatClient(service, group, version string) string {
	q := "?group=" + url.QueryEscape(group)
	if r.opt.Application != "" {
		q += "&application=" + url.QueryEscape(r.opt.Application)
	}
	return "motan2://" + net.JoinHostPort(r.opt.LocalHost, "0") + "/" + service + q + "&nodeType=referer&version=" + url.QueryEscape(version)
}

// localHost is this machine's first address that is no loopback.
func localHost() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}
