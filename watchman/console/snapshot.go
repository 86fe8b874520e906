package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Snapshot is a process's figures as /api/snapshot serves them.
type Snapshot struct {
	Service    string         `json:"service"`
	Release    string         `json:"release,omitempty"`
	Operations []Rate         `json:"operations"`
	Stats      watchman.Stats `json:"stats"`
}

// Rate is what an operation did in the last minute.
type Rate struct {
	Service   string        `json:"service"`
	Kind      watchman.Kind `json:"kind"`
	Name      string        `json:"name"`
	PerSecond float64       `json:"per_second"`
	ErrorRate float64       `json:"error_ratio"`
	P50       time.Duration `json:"p50_ns"` // since the start
	P99       time.Duration `json:"p99_ns"`
	Calls     uint64        `json:"calls"` // since the start
	Callers   []CallerRate  `json:"callers,omitempty"`
	Lanes     []LaneRate    `json:"lanes,omitempty"`
}

// CallerRate is the part of an operation's calls that one caller made.
type CallerRate struct {
	Service   string        `json:"service"`
	Name      string        `json:"name,omitempty"`
	PerSecond float64       `json:"per_second"`
	ErrorRate float64       `json:"error_ratio"`
	P99       time.Duration `json:"p99_ns"`
}

// LaneRate is the part of one lane, since the start.
type LaneRate struct {
	Lane      string        `json:"lane"`
	Calls     uint64        `json:"calls"`
	ErrorRate float64       `json:"error_ratio"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
}

func (c *Console) snapshot() Snapshot {
	now := time.Now()
	before, span := c.recorder.minuteAgo(now)
	type key struct {
		kind watchman.Kind
		name string
	}
	old := map[key]*watchman.OperationStats{}
	for i := range before {
		old[key{before[i].Kind, before[i].Name}] = &before[i]
	}
	s := Snapshot{Service: c.w.Service(), Release: c.w.Release(), Stats: c.w.Stats(), Operations: []Rate{}}
	for _, op := range c.w.Operations() {
		was := old[key{op.Kind, op.Name}]
		if was == nil {
			was = &watchman.OperationStats{}
		}
		r := Rate{Service: s.Service, Kind: op.Kind, Name: op.Name, P50: op.P50, P99: op.P99, Calls: op.Calls}
		r.PerSecond, r.ErrorRate = rate(op.Figures, was.Figures, span)
		for _, e := range op.Callers {
			var f watchman.Figures
			for _, o := range was.Callers {
				if o.Service == e.Service && o.Name == e.Name {
					f = o.Figures
				}
			}
			cr := CallerRate{Service: e.Service, Name: e.Name, P99: e.P99}
			cr.PerSecond, cr.ErrorRate = rate(e.Figures, f, span)
			r.Callers = append(r.Callers, cr)
		}
		for _, l := range op.Lanes {
			r.Lanes = append(r.Lanes, LaneRate{l.Lane, l.Calls, ratio(l.Errors, l.Calls), l.P50, l.P99})
		}
		s.Operations = append(s.Operations, r)
	}
	return s
}

func rate(now, before watchman.Figures, span time.Duration) (perSecond, errorRatio float64) {
	calls := now.Calls - before.Calls
	return float64(calls) / span.Seconds(), ratio(now.Errors-before.Errors, calls)
}

func ratio(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

const (
	peerTimeout  = 2 * time.Second
	maxPeerReply = 8 << 20
)

// absence is a peer that gave no answer, or none in time.
type absence struct {
	Peer string
	Late bool
}

// ask gets path from every peer into a value that fresh makes, at the same
// time, and says which peers did not answer.
func (c *Console) ask(ctx context.Context, path string, fresh func() any, take func(any)) (missing []absence) {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range c.opt.Peers {
		wg.Go(func() {
			v := fresh()
			err := c.get(ctx, strings.TrimSuffix(p, "/")+path, v)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				var timeout interface{ Timeout() bool }
				missing = append(missing, absence{p, errors.As(err, &timeout) && timeout.Timeout()})
				return
			}
			take(v)
		})
	}
	wg.Wait()
	return missing
}

func (c *Console) get(ctx context.Context, u string, v any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	res, err := c.opt.PeerClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("console: peer: %s", res.Status)
	}
	return json.NewDecoder(io.LimitReader(res.Body, maxPeerReply)).Decode(v)
}

// everybody is this process's snapshot and its peers'.
func (c *Console) everybody(ctx context.Context) (list []Snapshot, missing []absence) {
	list = []Snapshot{c.snapshot()}
	missing = c.ask(ctx, "/api/snapshot", func() any { return new(Snapshot) }, func(v any) { list = append(list, *v.(*Snapshot)) })
	return list, missing
}

// spans is what this process and its peers have of a trace, each span once.
func (c *Console) spans(ctx context.Context, id watchman.TraceID) (list []watchman.SpanRecord, missing []absence) {
	seen := map[watchman.SpanID]bool{}
	add := func(spans []watchman.SpanRecord) {
		for _, s := range spans {
			if s.TraceID == id && !seen[s.SpanID] && len(list) < maxShownSpans {
				seen[s.SpanID] = true
				list = append(list, s)
			}
		}
	}
	add(c.w.Trace(id))
	missing = c.ask(ctx, "/api/trace?id="+url.QueryEscape(id.String()), func() any { return new([]watchman.SpanRecord) },
		func(v any) { add(*v.(*[]watchman.SpanRecord)) })
	return list, missing
}

// maxShownSpans bounds a trace put together from several processes.
const maxShownSpans = 20000

func (c *Console) apiSnapshot(rw http.ResponseWriter, _ *http.Request) { writeJSON(rw, c.snapshot()) }

func (c *Console) apiTrace(rw http.ResponseWriter, r *http.Request) {
	id, err := watchman.ParseTraceID(r.FormValue("id"))
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	spans := c.w.Trace(id)
	if spans == nil {
		spans = []watchman.SpanRecord{}
	}
	writeJSON(rw, spans)
}

func writeJSON(rw http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(rw, "console: "+err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_, _ = rw.Write(b) // the client has gone; nobody is left to tell
}
