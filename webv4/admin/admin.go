package admin

import (
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

// Options configure New. The zero value is ready to use.
type Options struct {
	// Deny is the API's Options.Deny. nil: nothing can be denied here.
	Deny *webv4.DenyList

	// Auth says who a request comes from and what they may do. It replaces the
	// restriction to loopback: with it, everybody is answered whom it lets in. It
	// is called once or twice a request, concurrently.
	Auth func(r *http.Request) (user string, access Access)

	// Logger hears of changes of the deny list; degradations are logged by the
	// API. nil means slog.Default().
	Logger *slog.Logger
}

// Access is what somebody may do.
type Access int

const (
	Forbid  Access = iota // nothing
	View                  // look
	Operate               // look and change
)

// Handler is the page. It is safe for concurrent use.
type Handler struct {
	api   *webv4.API
	opt   Options
	token string
	next  http.Handler

	mu      sync.Mutex
	changes []Change // newest last
}

// Change is one that was made here.
type Change struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	What string    `json:"what"`
	Why  string    `json:"why"`
}

const (
	maxChanges = 100
	maxReason  = 500
	maxForm    = 16 << 10
)

// New returns the handler for api, which must not be nil. It does no I/O.
func New(api *webv4.API, opts *Options) (*Handler, error) {
	if api == nil {
		return nil, errors.New("admin: no API")
	}
	h := &Handler{api: api, token: rand.Text()}
	if opts != nil {
		h.opt = *opts
	}
	if h.opt.Logger == nil {
		h.opt.Logger = slog.Default()
	}
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", h.page)
	m.HandleFunc("GET /state", h.state)
	m.HandleFunc("POST /degrade", h.degrade)
	m.HandleFunc("POST /deny", h.deny)
	m.HandleFunc("POST /allow", h.allow)
	h.next = http.NewCrossOriginProtection().Handler(m)
	return h, nil
}

// ServeHTTP serves the page under /; elsewhere with http.StripPrefix.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	_, access := h.who(r)
	if access < View || r.Method != http.MethodGet && r.Method != http.MethodHead && access < Operate {
		http.Error(w, "not allowed here: the page answers on the loopback interface, or to whom its owner lets in", http.StatusForbidden)
		return
	}
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if subtle.ConstantTimeCompare([]byte(r.PostFormValue("token")), []byte(h.token)) != 1 {
			http.Error(w, "the token is not this page's, or from before a restart: load it again", http.StatusForbidden)
			return
		}
	}
	h.next.ServeHTTP(w, r)
}

// who is the request's user and what they may do.
func (h *Handler) who(r *http.Request) (string, Access) {
	if h.opt.Auth != nil {
		return h.opt.Auth(r)
	}
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !addr.Addr().Unmap().IsLoopback() {
		return "", Forbid
	}
	// A page elsewhere can have its own name resolve to 127.0.0.1; a proxy on
	// this machine forwards for everybody.
	if !loopback(r.Host) || r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		return "", Forbid
	}
	return "local", Operate
}

func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// State is what GET /state answers.
type State struct {
	Token    string               `json:"token,omitempty"` // for those who may change things
	Points   []webv4.PointState   `json:"points"`
	Breakers []webv4.BreakerStats `json:"breakers"`
	Limiters []webv4.LimiterStats `json:"limiters"`
	Denied   []webv4.Denied       `json:"denied"`
	Changes  []Change             `json:"changes"` // newest first, at most 100
}

func (h *Handler) current(r *http.Request) State {
	stats := h.api.Stats()
	s := State{Points: h.api.Points(), Breakers: stats.Breakers, Limiters: stats.Limiters}
	if h.opt.Deny != nil {
		s.Denied = h.opt.Deny.List()
	}
	if _, access := h.who(r); access >= Operate {
		s.Token = h.token
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := len(h.changes) - 1; i >= 0; i-- {
		s.Changes = append(s.Changes, h.changes[i])
	}
	return s
}

func (h *Handler) state(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	// What goes wrong now has no one to be told.
	_ = json.NewEncoder(w).Encode(h.current(r))
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"clock": func(t time.Time) string { return t.Format(time.DateTime) },
}).Parse(pageText))

func (h *Handler) page(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	data := struct {
		State
		CanDeny bool
		Levels  []webv4.Level
	}{h.current(r), h.opt.Deny != nil, []webv4.Level{webv4.Normal, webv4.Trim, webv4.Stale, webv4.Static, webv4.Shed, webv4.Off}}
	if err := pageTemplate.Execute(&b, data); err != nil {
		http.Error(w, "admin: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, b.String())
}
