// Package prom writes a Watchman's figures in Prometheus's text format, for a
// scrape:
//
//	mux.Handle("GET /metrics", prom.Handler(w))
//
// Every operation has a classic histogram with one bucket an octave, which any
// version of Prometheus, and whatever else reads the format, understands:
//
//	heddle_operation_duration_seconds{service,kind,operation}   histogram
//	heddle_operation_errors_total, _bad_total, _rejected_total  by the same labels
//	heddle_caller_calls_total, heddle_caller_errors_total       and caller, caller_operation
//	heddle_lane_calls_total, heddle_lane_errors_total           and lane
//	heddle_sampling_ratio                                       by service, kind, operation
//	heddle_errors_total                                         and chain: the kinds of errors
//	heddle_spans_total{fate}, heddle_spans_live, heddle_spans_recent, heddle_traces_kept
//	heddle_switch{name}, heddle_dial{name}
package prom

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// ContentType is the format's media type.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Handler serves w's figures. It holds names of operations and callers: put it
// where only those may ask who may know them. It costs about 2 µs an operation
// or caller.
func Handler(w *watchman.Watchman) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			rw.Header().Set("Allow", "GET, HEAD")
			http.Error(rw, "want GET", http.StatusMethodNotAllowed)
			return
		}
		rw.Header().Set("Content-Type", ContentType)
		if r.Method == http.MethodHead {
			return
		}
		_ = Write(rw, w) // the scraper has gone; nobody is left to tell
	})
}

// Write writes w's figures. The error is out's.
func Write(out io.Writer, w *watchman.Watchman) error {
	p := printer{bufio.NewWriter(out)}
	p.operations(w)
	p.errors(w)
	p.own(w)
	return p.w.Flush()
}

type printer struct{ w *bufio.Writer }

func (p printer) head(name, kind, help string) {
	fmt.Fprintf(p.w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (p printer) sample(name, labels string, v float64) {
	p.w.WriteString(name)
	if labels != "" {
		p.w.WriteByte('{')
		p.w.WriteString(labels)
		p.w.WriteByte('}')
	}
	p.w.WriteByte(' ')
	p.w.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
	p.w.WriteByte('\n')
}

// labels writes pairs of name and value.
func labels(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(pairs[i])
		b.WriteString(`="`)
		for _, r := range strings.ToValidUTF8(pairs[i+1], "\uFFFD") {
			switch r {
			case '\\':
				b.WriteString(`\\`)
			case '"':
				b.WriteString(`\"`)
			case '\n':
				b.WriteString(`\n`)
			default:
				b.WriteRune(r)
			}
		}
		b.WriteByte('"')
	}
	return b.String()
}

type series struct {
	labels string
	dist   watchman.Distribution
	stats  watchman.OperationStats
	ratio  float64
}

// The octaves that get a bucket: 128 µs to 34 s.
const (
	firstOctave = 17
	lastOctave  = 35
)

func (p printer) operations(w *watchman.Watchman) {
	var list []series
	for o := range w.Handles() {
		s := series{labels: labels("service", w.Service(), "kind", o.Kind().String(), "operation", o.Name()), dist: o.Distribution(), ratio: o.SamplingRatio()}
		if s.dist.Calls() == 0 {
			continue
		}
		s.stats = o.Stats()
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b series) int { return cmp.Compare(a.labels, b.labels) })

	const duration = "heddle_operation_duration_seconds"
	p.head(duration, "histogram", "How long calls took.")
	for i := range list {
		p.histogram(duration, &list[i])
	}
	for _, c := range []struct {
		name, help string
		value      func(*series) float64
	}{
		{"heddle_operation_errors_total", "Calls that failed.", func(s *series) float64 { return float64(s.dist.Errors) }},
		{"heddle_operation_bad_total", "Calls that failed or took longer than their target.", func(s *series) float64 { return float64(s.dist.Bad) }},
		{"heddle_operation_rejected_total", "Calls that were refused.", func(s *series) float64 { return float64(s.dist.Rejected) }},
	} {
		p.head(c.name, "counter", c.help)
		for i := range list {
			p.sample(c.name, list[i].labels, c.value(&list[i]))
		}
	}
	for _, c := range []struct {
		name, help string
		value      func(watchman.Figures) uint64
	}{
		{"calls_total", "Calls by who made them.", func(f watchman.Figures) uint64 { return f.Calls }},
		{"errors_total", "Failed calls by who made them.", func(f watchman.Figures) uint64 { return f.Errors }},
	} {
		p.head("heddle_caller_"+c.name, "counter", c.help)
		for _, s := range list {
			for _, e := range s.stats.Callers {
				p.sample("heddle_caller_"+c.name, s.labels+","+labels("caller", e.Service, "caller_operation", e.Name), float64(c.value(e.Figures)))
			}
		}
		p.head("heddle_lane_"+c.name, "counter", strings.Replace(c.help, "who made them", "lane", 1))
		for _, s := range list {
			for _, e := range s.stats.Lanes {
				p.sample("heddle_lane_"+c.name, s.labels+","+labels("lane", e.Lane), float64(c.value(e.Figures)))
			}
		}
	}
	p.head("heddle_sampling_ratio", "gauge", "Share of the traces begun here that is sampled.")
	for _, s := range list {
		p.sample("heddle_sampling_ratio", s.labels, s.ratio)
	}
}

func (p printer) histogram(name string, s *series) {
	var counts [lastOctave + 1]uint64
	total := uint64(0)
	for upper, n := range s.dist.Buckets() {
		total += n
		for o := firstOctave; o <= lastOctave; o++ {
			if upper <= time.Duration(1)<<o {
				counts[o] += n
				break
			}
		}
	}
	sum := uint64(0)
	for o := firstOctave; o <= lastOctave; o++ {
		sum += counts[o]
		le := strconv.FormatFloat((time.Duration(1) << o).Seconds(), 'g', -1, 64)
		p.sample(name+"_bucket", s.labels+`,le="`+le+`"`, float64(sum))
	}
	p.sample(name+"_bucket", s.labels+`,le="+Inf"`, float64(total))
	p.sample(name+"_sum", s.labels, s.dist.Sum.Seconds())
	p.sample(name+"_count", s.labels, float64(total))
}

func (p printer) errors(w *watchman.Watchman) {
	p.head("heddle_errors_total", "counter", "Errors by kind.")
	byLabels := map[string]uint64{}
	for _, g := range w.Errors() {
		byLabels[labels("service", w.Service(), "kind", g.Kind.String(), "operation", g.Operation, "chain", g.Chain)] += g.Count
	}
	keys := make([]string, 0, len(byLabels))
	for k := range byLabels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		p.sample("heddle_errors_total", k, float64(byLabels[k]))
	}
}

func (p printer) own(w *watchman.Watchman) {
	st, service := w.Stats(), w.Service()
	p.head("heddle_spans_total", "counter", "Spans by what became of them.")
	for _, f := range []struct {
		fate string
		n    uint64
	}{{"begun", st.Begun}, {"kept", st.Kept}, {"dropped", st.Dropped}, {"late", st.Late}, {"over_budget", st.OverBudget}} {
		p.sample("heddle_spans_total", labels("service", service, "fate", f.fate), float64(f.n))
	}
	for _, g := range []struct {
		name, help string
		v          float64
	}{
		{"heddle_spans_live", "Spans under way.", float64(st.Live)},
		{"heddle_spans_recent", "Spans in the ring of recent traces.", float64(st.Ring)},
		{"heddle_traces_kept", "Traces in memory.", float64(st.Traces)},
		{"heddle_traces_kept_bytes", "Estimated size of the traces in memory.", float64(st.Bytes)},
	} {
		p.head(g.name, "gauge", g.help)
		p.sample(g.name, labels("service", service), g.v)
	}
	p.head("heddle_traces_evicted_total", "counter", "Kept traces that had to go for newer ones.")
	p.sample("heddle_traces_evicted_total", labels("service", service), float64(st.Evicted))
	p.head("heddle_switch", "gauge", "Switches: 1 is on.")
	for _, s := range w.Switches() {
		v := 0.0
		if s.On {
			v = 1
		}
		p.sample("heddle_switch", labels("service", service, "name", s.Name), v)
	}
	p.head("heddle_dial", "gauge", "Dials.")
	for _, d := range w.Dials() {
		p.sample("heddle_dial", labels("service", service, "name", d.Name), d.Value)
	}
}
