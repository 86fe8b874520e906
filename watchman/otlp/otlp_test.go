package otlp_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/control"
	"github.com/heddle-go/heddle/watchman/otlp"
)

// receiver decodes what arrives with the generated messages.
type receiver struct {
	mu     sync.Mutex
	bodies map[string][][]byte
	answer func(path string, n int, rw http.ResponseWriter)
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, req)
	return rec.Result(), nil
}

func (r *receiver) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	z, err := gzip.NewReader(req.Body)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	b, err := io.ReadAll(z)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	if r.bodies == nil {
		r.bodies = map[string][][]byte{}
	}
	r.bodies[req.URL.Path] = append(r.bodies[req.URL.Path], b)
	n := len(r.bodies[req.URL.Path])
	r.mu.Unlock()
	rw.Header().Set("Content-Type", "application/x-protobuf")
	if r.answer != nil {
		r.answer(req.URL.Path, n, rw)
	}
}

func (r *receiver) last(t *testing.T, path string, m proto.Message) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.bodies[path]
	if len(list) == 0 {
		t.Fatalf("nothing came to %s", path)
	}
	if err := proto.Unmarshal(list[len(list)-1], m); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func (r *receiver) count(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.bodies[path])
}

func shop(t *testing.T) (*watchman.Watchman, watchman.TraceID) {
	t.Helper()
	w, err := watchman.New("shop", &watchman.Options{Sample: 1, Release: "v3"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, root := w.Operation(watchman.Server, "GET /cart").Start(t.Context())
	_, c := w.Operation(watchman.Client, "db\xff").Start(ctx)
	c.SetAttr("rows", "3")
	c.Phase("send")
	c.AddLink(watchman.FromFields("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "", ""))
	c.End(errors.New("table gone"))
	root.End(nil)
	return w, root.SpanContext().TraceID
}

func export(t *testing.T, w *watchman.Watchman, r *receiver, opts otlp.Options) *otlp.Exporter {
	t.Helper()
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	opts.Endpoint = srv.URL + "/"
	e, err := otlp.New(w, &opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.Run(ctx) // sends once
	return e
}

func TestExport(t *testing.T) {
	w, id := shop(t)
	r := &receiver{}
	e := export(t, w, r, otlp.Options{Headers: map[string]string{"Authorization": "Bearer x"}})

	var traces tracepb.TracesData
	r.last(t, "/v1/traces", &traces)
	rs := traces.ResourceSpans[0]
	if got := fmt.Sprint(rs.Resource.Attributes); !strings.Contains(got, "shop") || !strings.Contains(got, "v3") {
		t.Errorf("resource %s", got)
	}
	spans := rs.ScopeSpans[0].Spans
	if len(spans) != 2 || string(spans[0].TraceId) != string(id[:]) || spans[0].Kind != tracepb.Span_SPAN_KIND_SERVER {
		t.Fatalf("spans %v", spans)
	}
	db := spans[1]
	if string(db.ParentSpanId) != string(spans[0].SpanId) || db.Status.Message != "table gone" || len(db.Events) != 1 || len(db.Links) != 1 ||
		db.Name != "db\uFFFD" || db.EndTimeUnixNano < db.StartTimeUnixNano {
		t.Errorf("the child is %v", db)
	}

	var metrics metricspb.MetricsData
	r.last(t, "/v1/metrics", &metrics)
	hist := metrics.ResourceMetrics[0].ScopeMetrics[0].Metrics[0].GetExponentialHistogram()
	if len(hist.DataPoints) != 2 || len(hist.DataPoints[0].Exemplars)+len(hist.DataPoints[1].Exemplars) != 1 {
		t.Errorf("histograms %v", hist)
	}

	var logs logspb.LogsData
	r.last(t, "/v1/logs", &logs)
	rec := logs.ResourceLogs[0].ScopeLogs[0].LogRecords
	if len(rec) != 1 || rec[0].Body.GetStringValue() != "table gone" || string(rec[0].TraceId) != string(id[:]) {
		t.Errorf("records %v", rec)
	}
	if st := e.Stats(); st != (otlp.Stats{Sent: 2}) {
		t.Errorf("stats %+v", st)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.Run(ctx)
	if r.count("/v1/traces") != 1 || r.count("/v1/logs") != 1 || r.count("/v1/metrics") != 2 {
		t.Error("traces or errors were sent twice, or figures once only")
	}
}

// Every call stands in a bucket that is right within one bucket.
// What a control loop did and what came of it arrives once, and again only if
// the receiver did not take it.
func TestDecisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := watchman.New("shop", nil)
		if err != nil {
			t.Fatal(err)
		}
		op := w.Operation(watchman.Client, "db")
		loop, err := control.New(w, []control.Objective{{Name: "db", Kind: watchman.Client, Operation: "db", Target: 0.99, MinCalls: 10}},
			[]control.Policy{{Name: "cached", Objective: "db", Switch: w.Switch("db.cached", false), Enforce: true, Window: time.Second, After: 1, Hold: 2 * time.Second}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := &receiver{answer: func(path string, n int, rw http.ResponseWriter) {
			if path == "/v1/logs" && n == 1 {
				rw.WriteHeader(http.StatusForbidden)
			}
		}}
		e, err := otlp.New(w, &otlp.Options{Client: &http.Client{Transport: r}, Loop: loop})
		if err != nil {
			t.Fatal(err)
		}
		flush := func() {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			e.Run(ctx) // sends once
		}
		run := func(seconds int, result error) {
			for range seconds {
				for range 50 {
					op.Observe(t.Context(), time.Millisecond, result)
				}
				time.Sleep(time.Second)
				loop.Step()
			}
		}
		events := func() string {
			var logs logspb.LogsData
			r.last(t, "/v1/logs", &logs)
			var names []string
			for _, rec := range logs.ResourceLogs[0].ScopeLogs[0].LogRecords {
				if rec.EventName != "" {
					names = append(names, fmt.Sprintf("%s %s=%v", rec.EventName, rec.Attributes[4].Value.GetStringValue(), rec.Attributes[6].Value.GetDoubleValue()))
				}
			}
			return strings.Join(names, ", ")
		}
		run(1, errors.New("gone"))
		flush() // refused
		flush()
		if got := events(); got != "heddle.decision db.cached=1" {
			t.Errorf("first: %s", got)
		}
		run(8, nil)
		flush()
		if got := events(); got != "heddle.decision.outcome db.cached=1, heddle.decision db.cached=0, heddle.decision.outcome db.cached=0" {
			t.Errorf("then: %s", got)
		}
		n := r.count("/v1/logs")
		if flush(); r.count("/v1/logs") != n || e.Stats().Missed != 0 {
			t.Errorf("sent again, or missed: %+v", e.Stats())
		}
	})
}

func TestExponentialHistogram(t *testing.T) {
	w, _ := watchman.New("s", nil)
	op := w.Operation(watchman.Server, "op")
	durations := []time.Duration{time.Microsecond, 37 * time.Microsecond, 900 * time.Microsecond, 5 * time.Millisecond, time.Second, 77 * time.Second}
	for _, d := range durations {
		op.Observe(t.Context(), d, nil)
	}
	r := &receiver{}
	export(t, w, r, otlp.Options{})
	var metrics metricspb.MetricsData
	r.last(t, "/v1/metrics", &metrics)
	p := metrics.ResourceMetrics[0].ScopeMetrics[0].Metrics[0].GetExponentialHistogram().DataPoints[0]
	if p.Count != 6 || p.Scale != 3 {
		t.Fatalf("point %v", p)
	}
	base := 1.0905077326652577 // 2^(1/8)
	i := 0
	lower := 1.0
	for range -p.Positive.Offset {
		lower /= base
	}
	for _, n := range p.Positive.BucketCounts {
		for range n {
			got := durations[i].Seconds()
			if got < lower/base/1.001 || got > lower*base*base*1.001 {
				t.Errorf("%v is in the bucket from %v s", durations[i], lower)
			}
			i++
		}
		lower *= base
	}
	if i != 6 {
		t.Errorf("%d calls in buckets", i)
	}
}

// The products' operations get the conventions' names, of the version asked for.
func TestConventions(t *testing.T) {
	w, _ := watchman.New("s", &watchman.Options{Sample: 1})
	for _, o := range []struct {
		kind watchman.Kind
		name string
	}{
		{watchman.Server, "GET /2/show.json"}, {watchman.Client, "feed.Feed/update"}, {watchman.Producer, "mcq put timeline"},
		{watchman.Internal, "objstore.get"}, {watchman.Internal, "ssdcache.read"}, {watchman.Client, "ssdcache.tier users"}, {watchman.Internal, "mcq batch timeline"}, {watchman.Internal, "mcq odd"}, {watchman.Internal, "a/b"},
	} {
		_, s := w.Operation(o.kind, o.name).Start(t.Context())
		s.SetAttr("batch", "7")
		s.End(nil)
	}
	for version, db := range map[string]string{"": "db.system.name=objstore", "1.26.0": "db.system=objstore"} {
		r := &receiver{}
		export(t, w, r, otlp.Options{Conventions: version})
		var m tracepb.TracesData
		r.last(t, "/v1/traces", &m)
		got := map[string]string{}
		for _, s := range m.ResourceSpans[0].ScopeSpans[0].Spans {
			var list []string
			for _, a := range s.Attributes {
				if a.Key != "heddle.keep" && a.Key != "messaging.batch.message_count" {
					list = append(list, a.Key+"="+a.Value.GetStringValue())
				}
			}
			got[s.Name] = strings.Join(list, " ")
			if len(s.Attributes) != len(list)+2 {
				t.Errorf("%s: %v", s.Name, s.Attributes)
			}
		}
		for name, want := range map[string]string{
			"GET /2/show.json":    "http.request.method=GET http.route=/2/show.json",
			"feed.Feed/update":    "rpc.system=motan rpc.service=feed.Feed rpc.method=update",
			"mcq put timeline":    "messaging.system=mcq messaging.destination.name=timeline messaging.operation.name=put messaging.operation.type=send",
			"objstore.get":        db + " db.operation.name=get",
			"ssdcache.read":       strings.Replace(db, "objstore", "ssdcache", 1) + " db.operation.name=read",
			"ssdcache.tier users": strings.Replace(db, "objstore", "ssdcache", 1) + " db.operation.name=tier db.collection.name=users",
			"mcq batch timeline":  "messaging.system=mcq messaging.destination.name=timeline messaging.operation.name=batch messaging.operation.type=process",
			"mcq odd":             "", "a/b": "",
		} {
			if got[name] != want {
				t.Errorf("%q %s: %s, want %s", version, name, got[name], want)
			}
		}
	}
}

func TestJSON(t *testing.T) {
	w, id := shop(t)
	r := &receiver{}
	export(t, w, r, otlp.Options{JSON: true})
	var got struct {
		ResourceSpans []struct {
			ScopeSpans []struct {
				Spans []struct {
					TraceID string `json:"traceId"`
					SpanID  string `json:"spanId"`
					Parent  string `json:"parentSpanId"`
					Kind    int    `json:"kind"`
					Start   string `json:"startTimeUnixNano"`
				}
			}
		}
	}
	if err := json.Unmarshal(r.bodies["/v1/traces"][0], &got); err != nil {
		t.Fatal(err)
	}
	s := got.ResourceSpans[0].ScopeSpans[0].Spans
	if s[0].TraceID != id.String() || s[0].Kind != 2 || s[1].Parent != s[0].SpanID || len(s[0].SpanID) != 16 || s[0].Start == "" {
		t.Errorf("spans %+v", s)
	}
}

func TestRetry(t *testing.T) {
	w, _ := shop(t)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r := &receiver{answer: func(path string, n int, rw http.ResponseWriter) {
			if path == "/v1/traces" && n <= 2 {
				rw.Header().Set("Retry-After", "3")
				rw.WriteHeader(http.StatusServiceUnavailable)
			}
		}}
		e, err := otlp.New(w, &otlp.Options{Client: &http.Client{Transport: r}, Interval: time.Second, Timeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.Run(ctx); close(done) }()
		for e.Stats().Sent == 0 && time.Since(began) < time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		if st := e.Stats(); st.Sent != 2 || st.Retried != 2 || st.Failed != 0 {
			t.Errorf("stats %+v", st)
		}
		if took := time.Since(began); took < 7*time.Second || took > 8*time.Second {
			t.Errorf("sent after %v, want an interval and two times Retry-After", took)
		}
		cancel()
		<-done
	})
}

func TestRefusedAndPartial(t *testing.T) {
	w, _ := shop(t)
	r := &receiver{answer: func(path string, _ int, rw http.ResponseWriter) {
		switch path {
		case "/v1/traces":
			rw.Write([]byte{0x0a, 0x02, 0x08, 0x01}) // partial_success{rejected_spans: 1}
		case "/v1/metrics":
			rw.WriteHeader(http.StatusBadRequest)
		}
	}}
	e := export(t, w, r, otlp.Options{})
	if st := e.Stats(); st != (otlp.Stats{Sent: 1, Rejected: 1, Failed: 1}) {
		t.Errorf("stats %+v", st)
	}
}

func TestReceiverAway(t *testing.T) {
	w, _ := shop(t)
	e, err := otlp.New(w, &otlp.Options{Endpoint: "http://127.0.0.1:1", Timeout: 200 * time.Millisecond, MaxElapsed: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.Run(ctx)
	if st := e.Stats(); st.Lost != 2 || st.Failed == 0 || st.Sent != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestNewRejects(t *testing.T) {
	w, _ := shop(t)
	for _, o := range []otlp.Options{{Endpoint: "collector:4318"}, {Endpoint: "ftp://x"}, {Endpoint: "http://u:secret@x"}, {Interval: -1}, {BatchSpans: -1}, {Conventions: "0.1"}} {
		if _, err := otlp.New(w, &o); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := otlp.New(nil, nil); err == nil {
		t.Error("no Watchman was taken")
	}
}

func TestGRPCIsNotLinked(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "google.golang.org/grpc") {
		t.Error("gRPC is linked")
	}
}

// FuzzReply feeds the exporter hostile replies.
func FuzzReply(f *testing.F) {
	f.Add(200, "application/x-protobuf", "1", []byte{0x0a, 0x02, 0x08, 0x01})
	f.Add(503, "text/html", "99999999999999999999", []byte("x"))
	f.Add(429, "", "Wed, 21 Oct 2015 07:28:00 GMT", []byte{})
	f.Fuzz(func(t *testing.T, code int, contentType, after string, body []byte) {
		if code < 200 || code > 599 {
			return
		}
		w, _ := watchman.New("s", nil)
		w.Operation(watchman.Server, "op").Observe(t.Context(), 1, nil)
		client := &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {contentType}, "Retry-After": {after}}, Body: io.NopCloser(strings.NewReader(string(body)))}, nil
		})}
		e, err := otlp.New(w, &otlp.Options{Client: client, Timeout: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		e.Run(ctx)
		if st := e.Stats(); st.Rejected > 1<<63 {
			t.Fatalf("stats %+v", st)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func Example() {
	w, err := watchman.New("shop", nil)
	if err != nil {
		panic(err)
	}
	e, err := otlp.New(w, &otlp.Options{Endpoint: "http://127.0.0.1:4318"})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop() // a program does that when it ends
	e.Run(ctx)
	fmt.Println(e.Stats().Sent)
	// Output: 0
}
