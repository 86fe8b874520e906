package console

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/control"
	"github.com/heddle-go/heddle/watchman/zipkin"
)

// listed is an operation in a table.
type listed struct {
	Rate
	Link  string
	Spark template.HTML
}

func (c *Console) listed(s []Snapshot) []listed {
	var list []listed
	for i, snap := range s {
		for _, op := range snap.Operations {
			l := listed{Rate: op}
			if i == 0 {
				l.Link = operationLink(op.Kind, op.Name)
				l.Spark = spark(c.rates(c.w.Operation(op.Kind, op.Name)))
			}
			list = append(list, l)
		}
	}
	slices.SortStableFunc(list, func(a, b listed) int { return cmp.Compare(b.PerSecond, a.PerSecond) })
	if len(list) > 500 {
		list = list[:500]
	}
	return list
}

func (c *Console) rates(o *watchman.Operation) []float64 {
	points := c.recorder.history(o)
	values := make([]float64, len(points))
	for i := range points {
		values[i] = float64(points[i].calls) / c.opt.Interval.Seconds()
	}
	return values
}

func (c *Console) verdicts() []control.Verdict {
	if c.opt.Loop == nil {
		return nil
	}
	return c.opt.Loop.Verdicts()
}

func (c *Console) overview(rw http.ResponseWriter, r *http.Request) {
	all, missing := c.everybody(r.Context())
	var active []watchman.SwitchState
	for _, s := range c.w.Switches() {
		if s.On != s.Default {
			active = append(active, s)
		}
	}
	var dials []watchman.DialState
	for _, d := range c.w.Dials() {
		if d.Value != d.Default {
			dials = append(dials, d)
		}
	}
	errs := c.w.Errors()
	c.show(rw, r, "overview", "Overview", struct {
		Verdicts   []control.Verdict
		Operations []listed
		Active     []watchman.SwitchState
		Dials      []watchman.DialState
		Errors     []watchman.ErrorGroup
		Missing    []absence
		Many       bool
	}{c.verdicts(), c.listed(all), active, dials, errs[:min(len(errs), 5)], missing, len(all) > 1})
}

func (c *Console) topology(rw http.ResponseWriter, r *http.Request) {
	all, missing := c.everybody(r.Context())
	lanes := map[string]bool{}
	for _, s := range all {
		for _, op := range s.Operations {
			for _, l := range op.Lanes {
				lanes[l.Lane] = true
			}
		}
	}
	names := make([]string, 0, len(lanes))
	for l := range lanes {
		names = append(names, l)
	}
	slices.Sort(names)
	lane := r.FormValue("lane")
	g := newGraph(all, lane)
	c.show(rw, r, "topology", "Topology", struct {
		Graph   template.HTML
		Lanes   []string
		Lane    string
		Missing []absence
		Full    bool
		Edges   []edgeRow
	}{g.svg(), names, lane, missing, len(g.nodes) >= maxNodes, g.table()})
}

// edgeRow is an edge for those who would rather read than look.
type edgeRow struct {
	From, To              string
	PerSecond, ErrorRatio float64
	P99                   time.Duration
}

func (g *graph) table() []edgeRow {
	var list []edgeRow
	for _, e := range g.edges {
		if e.perSecond >= 0 {
			list = append(list, edgeRow{e.from.label, e.to.label, e.perSecond, e.errorRatio, e.p99})
		}
	}
	slices.SortFunc(list, func(a, b edgeRow) int {
		return cmp.Or(cmp.Compare(b.PerSecond, a.PerSecond), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return list
}

func (c *Console) operation(rw http.ResponseWriter, r *http.Request) {
	var kind watchman.Kind
	name := r.FormValue("name")
	if err := kind.UnmarshalText([]byte(r.FormValue("kind"))); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	var op *watchman.Operation // looked for, not made
	for o := range c.w.Handles() {
		if o.Kind() == kind && o.Name() == name {
			op = o
		}
	}
	if op == nil {
		http.Error(rw, "no such operation", http.StatusNotFound)
		return
	}
	points := c.recorder.history(op)
	times := make([]int64, len(points))
	calls, failed := line{"rate", "calls a second", make([]float64, len(points))}, line{"err", "errors a second", make([]float64, len(points))}
	p50, p99 := line{"p50", "median", make([]float64, len(points))}, line{"p99", "99th percentile", make([]float64, len(points))}
	for i, p := range points {
		times[i] = p.at
		calls.values[i] = float64(p.calls) / c.opt.Interval.Seconds()
		failed.values[i] = float64(p.errors) / c.opt.Interval.Seconds()
		p50.values[i], p99.values[i] = float64(p.p50), float64(p.p99)
	}
	var rated Rate
	for _, x := range c.snapshot().Operations {
		if x.Kind == kind && x.Name == name {
			rated = x
		}
	}
	var verdicts []control.Verdict
	if c.opt.Loop != nil {
		for i, o := range c.opt.Loop.Objectives() {
			if o.Kind == kind && o.Operation == name {
				verdicts = append(verdicts, c.verdicts()[i])
			}
		}
	}
	var traces []watchman.TraceSummary
	for _, t := range c.w.Traces(1024) {
		if t.Name == name && len(traces) < 10 {
			traces = append(traces, t)
		}
	}
	exemplars := op.Exemplars()
	slices.Reverse(exemplars)
	c.show(rw, r, "operation", name, struct {
		Rate      Rate
		Stats     watchman.OperationStats
		Rates     template.HTML
		Times     template.HTML
		Heat      template.HTML
		Verdicts  []control.Verdict
		Exemplars []watchman.Exemplar
		Traces    []watchman.TraceSummary
		Sampling  float64
	}{
		rated, op.Stats(),
		lines("Rate", number, times, calls, failed),
		lines("Duration", func(v float64) string { return duration(time.Duration(v * 1e9)) }, times, p50, p99),
		heat(points), verdicts, exemplars, traces, op.SamplingRatio(),
	})
}

// traceFilter is what the traces page looks for.
type traceFilter struct {
	Op, Keep, Text string
	MinMS          string
	Failed         bool
}

const maxListedTraces = 200

func (c *Console) traces(rw http.ResponseWriter, r *http.Request) {
	f := traceFilter{r.FormValue("op"), r.FormValue("keep"), r.FormValue("text"), r.FormValue("min"), r.FormValue("failed") != ""}
	atLeast := time.Duration(0)
	if f.MinMS != "" {
		ms, err := strconv.ParseFloat(f.MinMS, 64)
		if err != nil || !(ms >= 0 && ms < 1e9) {
			http.Error(rw, "min: want a number of milliseconds", http.StatusBadRequest)
			return
		}
		atLeast = time.Duration(ms * 1e6)
	}
	if id, err := watchman.ParseTraceID(strings.TrimSpace(f.Text)); err == nil {
		http.Redirect(rw, r, "trace?id="+id.String(), http.StatusSeeOther)
		return
	}
	list, reasons := []watchman.TraceSummary{}, map[string]int{}
	total := 0
	for _, t := range c.w.Traces(1 << 20) {
		total++
		reasons[t.Keep]++
		if !strings.Contains(t.Name, f.Op) || f.Keep != "" && t.Keep != f.Keep || t.Duration < atLeast || f.Failed && t.Errors == 0 ||
			len(list) >= maxListedTraces || f.Text != "" && !holds(c.w.Trace(t.TraceID), f.Text) {
			continue
		}
		list = append(list, t)
	}
	var longest time.Duration
	for _, t := range list {
		longest = max(longest, t.Duration)
	}
	c.show(rw, r, "traces", "Traces", struct {
		Filter  traceFilter
		Traces  []watchman.TraceSummary
		Reasons map[string]int
		Total   int
		Longest time.Duration
		Full    bool
	}{f, list, reasons, total, longest, len(list) == maxListedTraces})
}

// holds reports whether a fact, an error or a name of a trace holds text.
func holds(spans []watchman.SpanRecord, text string) bool {
	for i := range spans {
		s := &spans[i]
		if strings.Contains(s.Error, text) || strings.Contains(s.Name, text) || strings.Contains(s.Service, text) {
			return true
		}
		for _, a := range s.Attrs {
			if strings.Contains(a.Value, text) || strings.Contains(a.Key+"="+a.Value, text) {
				return true
			}
		}
	}
	return false
}

// pageRows is how many rows of a waterfall are shown at once.
const pageRows = 500

func (c *Console) trace(rw http.ResponseWriter, r *http.Request) {
	id, err := watchman.ParseTraceID(r.FormValue("id"))
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	spans, missing := c.spans(r.Context(), id)
	if len(spans) == 0 {
		c.noTrace(rw, r, id, missing)
		return
	}
	switch r.FormValue("format") {
	case "json":
		download(rw, id.String()+".json", "application/json")
		writeJSON(rw, spans)
		return
	case "zipkin":
		download(rw, id.String()+".zipkin.json", "application/json")
		writeJSON(rw, zipkin.Spans(spans))
		return
	case "text":
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_ = watchman.WriteTree(rw, spans) // the client has gone; nobody is left to tell
		return
	}
	f := newFall(spans)
	from, _ := strconv.Atoi(r.FormValue("from")) // anything else is the beginning
	from = min(max(from, 0), max(len(f.Rows)-1, 0))
	shown := f.Rows[from:min(from+pageRows, len(f.Rows))]
	next := 0
	if from+pageRows < len(f.Rows) {
		next = from + pageRows
	}
	c.show(rw, r, "trace", "Trace "+id.String()[:8], struct {
		ID      string
		Fall    fall
		Rows    []row
		From    int
		Next    int
		Prev    int
		Missing []absence
		Root    row
		Ticks   []time.Duration
	}{id.String(), f, shown, from, next, max(from-pageRows, 0), missing, f.Rows[0], []time.Duration{0, f.Duration / 4, f.Duration / 2, f.Duration * 3 / 4, f.Duration}})
}

// noTrace says that nobody has a trace, or that nobody of those who answered has:
// then asking again may help.
func (c *Console) noTrace(rw http.ResponseWriter, r *http.Request, id watchman.TraceID, missing []absence) {
	code := http.StatusNotFound
	if len(missing) > 0 {
		code = http.StatusGatewayTimeout
	}
	c.showCode(rw, r, code, "trace", "Trace "+id.String()[:8], struct {
		ID      string
		Missing []absence
		Rows    []row
	}{id.String(), missing, nil})
}

func download(rw http.ResponseWriter, name, contentType string) {
	rw.Header().Set("Content-Type", contentType)
	rw.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
}

func (c *Console) errors(rw http.ResponseWriter, r *http.Request) {
	c.show(rw, r, "errors", "Errors", c.w.Errors())
}

func (c *Console) decisions(rw http.ResponseWriter, r *http.Request) {
	var list []control.Decision
	var policies []control.PolicyState
	if c.opt.Loop != nil {
		list, policies = c.opt.Loop.Decisions(), c.opt.Loop.Policies()
	}
	c.show(rw, r, "decisions", "Decisions", struct {
		Loop      bool
		Policies  []control.PolicyState
		Decisions []control.Decision
		Verdicts  []control.Verdict
	}{c.opt.Loop != nil, policies, list, c.verdicts()})
}

func (c *Console) switches(rw http.ResponseWriter, r *http.Request) {
	c.show(rw, r, "switches", "Switches", struct {
		Switches []watchman.SwitchState
		Dials    []watchman.DialState
		Changes  []watchman.Change
	}{c.w.Switches(), c.w.Dials(), c.w.Changes()})
}

func (c *Console) sampling(rw http.ResponseWriter, r *http.Request) {
	type ratioRow struct {
		Kind   watchman.Kind
		Name   string
		Ratio  float64
		Own    bool
		Number string
	}
	sp := c.w.Sampling()
	var rows []ratioRow
	for _, op := range c.w.Operations() {
		if op.Kind == watchman.Client || len(rows) >= 200 {
			continue // what begins no trace
		}
		_, own := sp.Operations[op.Name]
		rows = append(rows, ratioRow{Kind: op.Kind, Name: op.Name, Ratio: c.w.Operation(op.Kind, op.Name).SamplingRatio(), Own: own})
	}
	var single strings.Builder
	names := make([]string, 0, len(sp.Operations))
	for n := range sp.Operations {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		fmt.Fprintf(&single, "%s = %v\n", n, sp.Operations[n])
	}
	c.show(rw, r, "sampling", "Sampling", struct {
		Rules  watchman.Sampling
		Single string
		Rows   []ratioRow
		Stats  watchman.Stats
		Audit  []audit
	}{sp, single.String(), rows, c.w.Stats(), c.changes()})
}

func (c *Console) self(rw http.ResponseWriter, r *http.Request) {
	var counters map[string]uint64
	if c.opt.Counters != nil {
		counters = c.opt.Counters()
	}
	cost := spanCost()
	st := c.w.Stats()
	rate := 0.0
	for _, op := range c.snapshot().Operations {
		rate += op.PerSecond
	}
	c.show(rw, r, "self", "Self", struct {
		Stats    watchman.Stats
		Cost     time.Duration
		Share    float64
		Rate     float64
		Sum      uint64
		Counters map[string]uint64
		Loop     *control.Stats
	}{st, cost, rate * cost.Seconds(), rate, st.Kept + st.Ring + st.Dropped + st.Live, counters, c.loopStats()})
}

func (c *Console) loopStats() *control.Stats {
	if c.opt.Loop == nil {
		return nil
	}
	st := c.opt.Loop.Stats()
	return &st
}

// spanCost measures what a span costs now, on a Watchman of its own.
func spanCost() time.Duration {
	w, err := watchman.New("cost", &watchman.Options{Sample: -1, RecentTraces: 16})
	if err != nil {
		return 0
	}
	op := w.Operation(watchman.Internal, "span")
	const rounds, n = 8, 250
	best := time.Duration(math.MaxInt64) // the others had the processor taken away
	for range rounds {
		began := time.Now()
		for range n {
			_, s := op.Start(context.Background())
			s.End(nil)
		}
		best = min(best, time.Since(began)/n)
	}
	return best
}
