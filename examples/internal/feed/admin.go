package feed

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/console"
)

// serveAdmin shows what the tiers of this process do:
//
//	GET  /                           the console; /service-0/ and the like are those of the tiers
//	GET  /trace?id=4bf92f35…         the spans of one trace, as JSON
//	GET  /switches                   the runtime switches, as JSON
//	POST /switches?name=&on=&reason= turns one
//
// It has no authentication of its own, so it only listens on loopback.
func (f *Feed) serveAdmin(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("feed: -admin %s: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("feed: -admin %s: not a loopback address", addr)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /trace", f.trace)
	mux.HandleFunc("GET /switches", f.switches)
	mux.HandleFunc("POST /switches", f.setSwitch)
	if err := f.mountConsoles(mux, addr); err != nil {
		return err
	}
	ln, err := listen(addr)
	if err != nil {
		return fmt.Errorf("feed: -admin: %w", err)
	}
	f.admin = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      60 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
	go f.admin.Serve(ln)
	return nil
}

// mountConsoles gives each tier a console; that of the outermost one shows the
// others' figures too, and / leads to it.
func (f *Feed) mountConsoles(mux *http.ServeMux, addr string) error {
	var peers []string
	for i, t := range f.tiers {
		opts := &console.Options{}
		if i == len(f.tiers)-1 {
			opts.Peers = peers
		}
		c, err := console.New(t.watch, opts)
		if err != nil {
			return fmt.Errorf("feed: console of %s: %w", t.name, err)
		}
		f.consoles = append(f.consoles, c)
		prefix := "/" + t.name
		mux.Handle(prefix+"/", http.StripPrefix(prefix, c))
		peers = append(peers, "http://"+addr+prefix)
		if i == len(f.tiers)-1 {
			mux.Handle("GET /{$}", http.RedirectHandler(prefix+"/", http.StatusFound))
		}
	}
	return nil
}

func (f *Feed) trace(w http.ResponseWriter, r *http.Request) {
	id, err := watchman.ParseTraceID(r.FormValue("id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	spans := []watchman.SpanRecord{}
	for _, t := range f.tiers {
		spans = append(spans, t.watch.Trace(id)...)
	}
	writeJSON(w, spans)
}

func (f *Feed) switches(w http.ResponseWriter, _ *http.Request) {
	out := map[string]any{}
	for _, t := range f.tiers {
		out[t.name] = t.watch.Switches()
	}
	writeJSON(w, out)
}

func (f *Feed) setSwitch(w http.ResponseWriter, r *http.Request) {
	// A browser sends no such header across sites without asking first.
	if r.Header.Get("X-Heddle-Admin") == "" {
		http.Error(w, "feed: set the header X-Heddle-Admin: 1", http.StatusForbidden)
		return
	}
	var on bool
	switch r.FormValue("on") {
	case "true", "1":
		on = true
	case "false", "0":
	default:
		http.Error(w, "feed: on: want true or false", http.StatusBadRequest)
		return
	}
	var errs []error
	for _, t := range f.tiers {
		err := t.watch.SetSwitch(r.FormValue("name"), on, "admin", r.FormValue("reason"))
		if err == nil {
			f.switches(w, r)
			return
		}
		errs = append(errs, fmt.Errorf("%s: %w", t.name, err))
	}
	http.Error(w, errors.Join(errs...).Error(), http.StatusBadRequest)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(v)
}
