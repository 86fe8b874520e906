package console

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

const maxReason = 500

// reason is the form's reason, which every change needs.
func reason(r *http.Request) (string, bool) {
	s := strings.TrimSpace(r.PostFormValue("reason"))
	return s, s != "" && len(s) <= maxReason
}

// change turns a switch or a dial.
func (c *Console) change(rw http.ResponseWriter, r *http.Request) {
	user, _ := c.who(r)
	name := r.PostFormValue("name")
	why, ok := reason(r)
	if !ok {
		refuse(rw, http.StatusBadRequest, "A change needs a reason of at most 500 characters.")
		return
	}
	if r.PostFormValue("confirm") != name {
		refuse(rw, http.StatusBadRequest, "The name that was typed to confirm is not the name of what is to be changed.")
		return
	}
	ch := watchman.Change{Name: name, By: user, Reason: why, Revert: r.PostFormValue("value") == "default"}
	if !ch.Revert {
		v, err := strconv.ParseFloat(r.PostFormValue("value"), 64)
		if err != nil {
			refuse(rw, http.StatusBadRequest, "The value is no number.")
			return
		}
		ch.Value = v
	}
	if s := r.PostFormValue("minutes"); s != "" && s != "0" {
		m, err := strconv.ParseUint(s, 10, 20)
		if err != nil {
			refuse(rw, http.StatusBadRequest, "The time is no number of minutes.")
			return
		}
		ch.For = time.Duration(m) * time.Minute
	}
	if err := c.w.Apply(ch); err != nil {
		code := http.StatusConflict
		if errors.Is(err, watchman.ErrRange) {
			code = http.StatusBadRequest
		} else if errors.Is(err, watchman.ErrNoSwitch) {
			code = http.StatusNotFound
		}
		refuse(rw, code, err.Error())
		return
	}
	http.Redirect(rw, r, "switches?done=changed", http.StatusSeeOther)
}

// setSampling replaces the sampling rules.
func (c *Console) setSampling(rw http.ResponseWriter, r *http.Request) {
	why, ok := reason(r)
	if !ok {
		refuse(rw, http.StatusBadRequest, "A change needs a reason of at most 500 characters.")
		return
	}
	var sp watchman.Sampling
	var err error
	if sp.Ratio, err = strconv.ParseFloat(r.PostFormValue("ratio"), 64); err != nil {
		refuse(rw, http.StatusBadRequest, "The ratio is no number.")
		return
	}
	if s := r.PostFormValue("budget"); s != "" {
		if sp.TracesPerMinute, err = strconv.Atoi(s); err != nil {
			refuse(rw, http.StatusBadRequest, "The budget is no whole number.")
			return
		}
	}
	for l := range strings.Lines(r.PostFormValue("operations")) {
		l = strings.TrimSpace(l)
		if l == "" {
			continue
		}
		i := strings.LastIndex(l, "=")
		if i < 0 {
			refuse(rw, http.StatusBadRequest, "Single ratios: want one NAME = RATIO a line.")
			return
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(l[i+1:]), 64)
		if err != nil {
			refuse(rw, http.StatusBadRequest, "Single ratios: want one NAME = RATIO a line.")
			return
		}
		if sp.Operations == nil {
			sp.Operations = map[string]float64{}
		}
		sp.Operations[strings.TrimSpace(l[:i])] = v
	}
	if err := c.w.SetSampling(sp); err != nil {
		refuse(rw, http.StatusBadRequest, err.Error())
		return
	}
	c.log(r, "rules: ratio "+strconv.FormatFloat(sp.Ratio, 'g', -1, 64)+", "+strconv.Itoa(sp.TracesPerMinute)+" traces a minute, "+strconv.Itoa(len(sp.Operations))+" single ratios", why)
	http.Redirect(rw, r, "sampling?done=sampled", http.StatusSeeOther)
}

// keep keeps a recent trace.
func (c *Console) keep(rw http.ResponseWriter, r *http.Request) {
	why, ok := reason(r)
	if !ok {
		refuse(rw, http.StatusBadRequest, "Keeping a trace needs a reason of at most 500 characters.")
		return
	}
	id, err := watchman.ParseTraceID(strings.TrimSpace(r.PostFormValue("id")))
	if err != nil {
		refuse(rw, http.StatusBadRequest, err.Error())
		return
	}
	if _, err := c.w.KeepTrace(id, why); err != nil {
		refuse(rw, http.StatusNotFound, err.Error())
		return
	}
	c.log(r, "kept trace "+id.String(), why)
	http.Redirect(rw, r, "trace?done=kept&id="+id.String(), http.StatusSeeOther)
}

// maxAudit bounds the changes that are remembered.
const maxAudit = 100

func (c *Console) log(r *http.Request, what, why string) {
	user, _ := c.who(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.audit) == maxAudit {
		c.audit = append(c.audit[:0], c.audit[1:]...)
	}
	c.audit = append(c.audit, audit{time.Now(), user, what, why})
}

// changes is what log was told, newest first.
func (c *Console) changes() []audit {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.Clone(c.audit)
	slices.Reverse(list)
	return list
}
