package admin

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

// change is what forms have in common.
type change struct {
	by, why string
	ttl     time.Duration
}

// read takes a form whose confirm must repeat what it is about. It answers and
// returns false if it cannot.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, about string) (c change, ok bool) {
	c.by, _ = h.who(r)
	c.why = strings.TrimSpace(r.PostFormValue("reason"))
	minutes, err := uint64(0), error(nil)
	if s := r.PostFormValue("minutes"); s != "" {
		minutes, err = strconv.ParseUint(s, 10, 20)
	}
	c.ttl = time.Duration(minutes) * time.Minute
	switch {
	case c.why == "" || len(c.why) > maxReason:
		refuse(w, http.StatusBadRequest, fmt.Errorf("reason: want at most %d bytes, and one", maxReason))
	case about == "" || r.PostFormValue("confirm") != about:
		refuse(w, http.StatusBadRequest, fmt.Errorf("confirm: want what is to be changed once more, %.100q", about))
	case err != nil:
		refuse(w, http.StatusBadRequest, errors.New("minutes: want a number, or 0 for no end"))
	default:
		return c, true
	}
	return c, false
}

func (h *Handler) degrade(w http.ResponseWriter, r *http.Request) {
	name := r.PostFormValue("point")
	c, ok := h.read(w, r, name)
	if !ok {
		return
	}
	d := webv4.Degradation{TTL: c.ttl, By: c.by, Why: c.why, DryRun: r.PostFormValue("dry") != ""}
	if err := d.Level.UnmarshalText([]byte(r.PostFormValue("level"))); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if s := r.PostFormValue("percent"); s != "" {
		var err error
		if d.Percent, err = strconv.Atoi(s); err != nil {
			refuse(w, http.StatusBadRequest, errors.New("percent: want a number from 0 to 100"))
			return
		}
	}
	if err := h.api.Degrade(name, d); err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, webv4.ErrNoPoint) {
			status = http.StatusNotFound
		}
		refuse(w, status, err)
		return
	}
	what := "point " + name + ": " + d.Level.String()
	if d.Percent > 0 {
		what += fmt.Sprintf(" for %d %%", d.Percent)
	}
	if d.DryRun {
		what += ", dry run"
	}
	h.done(w, r, c, what)
}

func (h *Handler) deny(w http.ResponseWriter, r *http.Request) {
	h.denial(w, r, "denied", func(kind webv4.DenyKind, value string, c *change) error {
		return h.opt.Deny.Deny(kind, value, c.why, c.ttl)
	})
}

func (h *Handler) allow(w http.ResponseWriter, r *http.Request) {
	h.denial(w, r, "allowed", func(kind webv4.DenyKind, value string, c *change) error {
		c.ttl = 0 // there is no end to what is not refused
		return h.opt.Deny.Allow(kind, value)
	})
}

func (h *Handler) denial(w http.ResponseWriter, r *http.Request, verb string, f func(webv4.DenyKind, string, *change) error) {
	if h.opt.Deny == nil {
		refuse(w, http.StatusNotFound, errors.New("the API has no deny list"))
		return
	}
	kind, value := webv4.DenyKind(r.PostFormValue("kind")), r.PostFormValue("value")
	c, ok := h.read(w, r, value)
	if !ok {
		return
	}
	if err := f(kind, value, &c); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	h.opt.Logger.Info("webv4: deny list changed", "change", verb, "kind", string(kind), "value", value, "ttl", c.ttl, "by", c.by, "why", c.why)
	h.done(w, r, c, fmt.Sprintf("%s %s %.100s", verb, kind, value))
}

// done remembers a change and goes back to the page.
func (h *Handler) done(w http.ResponseWriter, r *http.Request, c change, what string) {
	if c.ttl > 0 {
		what += fmt.Sprintf(" for %v", c.ttl)
	}
	h.mu.Lock()
	if len(h.changes) == maxChanges {
		h.changes = append(h.changes[:0], h.changes[1:]...)
	}
	h.changes = append(h.changes, Change{time.Now(), c.by, what, c.why})
	h.mu.Unlock()
	// Relative, so that it stays below a prefix that was stripped.
	w.Header().Set("Location", "./")
	w.WriteHeader(http.StatusSeeOther)
}

func refuse(w http.ResponseWriter, status int, err error) {
	http.Error(w, "admin: "+err.Error(), status)
}
