package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// startAdmin serves the figures, pause and resume on addr until it is closed; if it
// fails, failed is told. The Addr of the result is what was listened on.
func startAdmin(addr string, b *mcq.Broker, s *mcq.Server, failed chan<- error) (*http.Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	h := &http.Server{Addr: ln.Addr().String(), Handler: adminHandler(b, s), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	go func() {
		if err := h.Serve(ln); err != http.ErrServerClosed {
			failed <- err
		}
	}()
	return h, nil
}

func adminHandler(b *mcq.Broker, s *mcq.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := b.Health(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(struct {
			Broker mcq.Stats
			Server mcq.ServerStats
		}{b.Stats(), s.Stats()})
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, metrics(b.Stats(), s.Stats()))
	})
	mux.HandleFunc("POST /queues/{queue}/pause", operate(b, (*mcq.Queue).Pause, "paused, until it is resumed or mcqd ends"))
	mux.HandleFunc("POST /queues/{queue}/resume", operate(b, (*mcq.Queue).Resume, "resumed"))
	return http.NewCrossOriginProtection().Handler(mux)
}

// operate does something to the queue that the path names, and says that it is done.
func operate(b *mcq.Broker, do func(*mcq.Queue), done string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !fromHere(r) {
			http.Error(w, "only for callers on the same machine, by its loopback address", http.StatusForbidden)
			return
		}
		name := r.PathValue("queue")
		if !slices.Contains(b.Queues(), name) { // a name that is misspelt makes no queue
			http.Error(w, fmt.Sprintf("there is no queue %q", name), http.StatusNotFound)
			return
		}
		q, err := b.Queue(name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		do(q)
		fmt.Fprintf(w, "%s is %s\n", name, done)
	}
}

// fromHere reports whether somebody on this machine calls: not a proxy for somebody
// else, and not a page whose own name has been made to mean this address.
func fromHere(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() || r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	to, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && to.Unmap().IsLoopback()
}
