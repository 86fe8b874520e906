package console

import (
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/control"
	"github.com/heddle-go/heddle/watchman/flight"
)

// Options configure New. The zero value is ready to use.
type Options struct {
	// Loop shows objectives and decisions. nil leaves their pages empty.
	Loop *control.Loop

	// Auth says who a request comes from and whether they may change things. It
	// replaces the restriction to loopback: with it, the console answers everybody
	// whom Auth lets in. It is called once a request, concurrently.
	Auth func(r *http.Request) (user string, access Access)

	// Peers are base URLs of other processes' consoles, whose figures and traces
	// are shown together with this one's. A peer that does not answer within
	// two seconds is left out and named. At most 64.
	Peers []string

	// PeerClient asks the peers; give it what their Auth wants. nil means a
	// client of its own.
	PeerClient *http.Client

	// Interval is the time between two points of the charts. 0 means 5 s.
	Interval time.Duration

	// Flight is a flight recorder, whose snapshots are listed and which can be
	// started and stopped. nil means none.
	Flight *flight.Recorder

	// Counters are shown on the self page, such as an exporter's. It is called
	// for every view. nil means none.
	Counters func() map[string]uint64
}

// Access is what somebody may do.
type Access int

const (
	Deny    Access = iota // nothing
	View                  // look
	Operate               // look and change
)

// Console is the handler. It is safe for concurrent use.
type Console struct {
	w        *watchman.Watchman
	opt      Options
	token    string
	mux      *http.ServeMux
	handler  http.Handler
	pages    map[string]*template.Template
	recorder recorder

	mu    sync.Mutex
	audit []audit // changes made here other than of switches, newest last

	stop    func()
	stopped chan struct{}
	done    sync.WaitGroup
	streams chan struct{} // a place for each that is open
}

type audit struct {
	At     time.Time
	By     string
	What   string
	Reason string
}

//go:embed assets
var assets embed.FS

//go:embed pages
var pageFiles embed.FS

// pageNames are the pages in the order of the menu; the others are reached from them.
var pageNames = []string{"overview", "topology", "traces", "errors", "decisions", "switches", "sampling", "runtime", "self"}

// New returns a Console over w, which must not be nil, and starts its recorder.
func New(w *watchman.Watchman, opts *Options) (*Console, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Interval == 0 {
		o.Interval = 5 * time.Second
	}
	var errs []error
	if w == nil {
		errs = append(errs, errors.New("console: no Watchman"))
	}
	if o.Interval < 0 {
		errs = append(errs, fmt.Errorf("console: Options.Interval %v: negative", o.Interval))
	}
	if len(o.Peers) > 64 {
		errs = append(errs, fmt.Errorf("console: Options.Peers: %d, want at most 64", len(o.Peers)))
	}
	for i, p := range o.Peers {
		if u, err := url.Parse(p); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			errs = append(errs, fmt.Errorf("console: Options.Peers[%d]: want an http or https URL without a password", i))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if o.PeerClient == nil {
		o.PeerClient = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	var secret [16]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c := &Console{w: w, opt: o, token: hex.EncodeToString(secret[:]), pages: map[string]*template.Template{}, streams: make(chan struct{}, maxStreams)}
	c.recorder.init(w)
	for _, name := range append([]string{"operation", "trace"}, pageNames...) {
		t, err := template.New("layout.html").Funcs(functions).ParseFS(pageFiles, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("console: page %s: %w", name, err)
		}
		c.pages[name] = t
	}
	c.routes()
	c.start()
	return c, nil
}

func (c *Console) start() {
	c.stopped = make(chan struct{})
	c.stop = sync.OnceFunc(func() { close(c.stopped) })
	c.done.Go(func() {
		t := time.NewTicker(c.opt.Interval)
		defer t.Stop()
		for {
			select {
			case <-c.stopped:
				return
			case <-t.C:
				c.recorder.tick(time.Now())
			}
		}
	})
}

// Close stops the recorder and waits for it, and ends what is streamed. The
// pages go on to work, with charts that end. Close it before the server that it
// is mounted in is shut down, which waits for streams.
func (c *Console) Close() error {
	c.stop()
	c.done.Wait()
	return nil
}

func (c *Console) routes() {
	m := http.NewServeMux()
	static, _ := fs.Sub(assets, "assets") // the directory is embedded
	for _, f := range []string{"app.css", "app.js"} {
		m.HandleFunc("GET /"+f, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Cache-Control", "max-age=300")
			http.ServeFileFS(rw, r, static, f)
		})
	}
	m.HandleFunc("GET /{$}", c.overview)
	m.HandleFunc("GET /topology", c.topology)
	m.HandleFunc("GET /operation", c.operation)
	m.HandleFunc("GET /traces", c.traces)
	m.HandleFunc("GET /trace", c.trace)
	m.HandleFunc("GET /errors", c.errors)
	m.HandleFunc("GET /decisions", c.decisions)
	m.HandleFunc("GET /switches", c.switches)
	m.HandleFunc("POST /switches", c.change)
	m.HandleFunc("GET /sampling", c.sampling)
	m.HandleFunc("POST /sampling", c.setSampling)
	m.HandleFunc("POST /keep", c.keep)
	m.HandleFunc("GET /runtime", c.runtime)
	m.HandleFunc("POST /profile", c.profile)
	m.HandleFunc("POST /flight", c.flight)
	m.HandleFunc("GET /self", c.self)
	m.HandleFunc("GET /live", c.live)
	m.HandleFunc("GET /api/snapshot", c.apiSnapshot)
	m.HandleFunc("GET /api/trace", c.apiTrace)
	c.mux = m
	c.handler = http.NewCrossOriginProtection().Handler(m)
}

// ServeHTTP serves the console under /. Mount it elsewhere with
// http.StripPrefix, and end the prefix's pattern with a slash.
func (c *Console) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h := rw.Header()
	h.Set("Content-Security-Policy", "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	_, access := c.who(r)
	if access < View || r.Method != http.MethodGet && r.Method != http.MethodHead && access < Operate {
		http.Error(rw, "not allowed here: the console answers on the loopback interface, or to whom its owner lets in", http.StatusForbidden)
		return
	}
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(rw, r.Body, 64<<10)
		if subtle.ConstantTimeCompare([]byte(r.PostFormValue("token")), []byte(c.token)) != 1 {
			http.Error(rw, "the form is not from this console, or from before it was restarted: reload the page", http.StatusForbidden)
			return
		}
	}
	c.handler.ServeHTTP(rw, r)
}

// who is the request's user and what they may do.
func (c *Console) who(r *http.Request) (string, Access) {
	if c.opt.Auth != nil {
		return c.opt.Auth(r)
	}
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !addr.Addr().Unmap().IsLoopback() {
		return "", Deny
	}
	// A web page can have its own name resolve to 127.0.0.1; a proxy on this
	// machine forwards for everybody.
	if !loopbackHost(r.Host) || r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		return "", Deny
	}
	return "local", Operate
}

func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// page is what every template gets.
type page struct {
	Name    string
	Title   string
	Service string
	Release string
	Menu    []string
	Token   string
	Operate bool
	Now     time.Time
	Note    string // what just happened
	Data    any
}

func (c *Console) show(rw http.ResponseWriter, r *http.Request, name, title string, data any) {
	c.showCode(rw, r, http.StatusOK, name, title, data)
}

func (c *Console) showCode(rw http.ResponseWriter, r *http.Request, code int, name, title string, data any) {
	_, access := c.who(r)
	p := page{
		Name: name, Title: title, Service: c.w.Service(), Release: c.w.Release(), Menu: pageNames, Token: c.token,
		Operate: access >= Operate, Now: time.Now(), Note: notes[r.URL.Query().Get("done")], Data: data,
	}
	var b strings.Builder
	if err := c.pages[name].Execute(&b, p); err != nil {
		http.Error(rw, "console: "+err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.WriteHeader(code)
	fmt.Fprint(rw, b.String())
}

// notes are what a page says after a change; they are picked by a word in the
// URL so that a link cannot make the page say anything else.
var notes = map[string]string{
	"changed": "Changed. See the audit log below.",
	"sampled": "The rules hold from the next trace on.",
	"kept":    "The trace is kept.",
	"flight":  "Done. See the flight recorder below.",
}

// refuse answers a change that was not made.
func refuse(rw http.ResponseWriter, code int, why string) {
	http.Error(rw, why+"\n\nGo back and try again.", code)
}
