package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/control"
)

// Options configure New. The zero value is ready to use.
type Options struct {
	// Endpoint is the receiver's base URL, to which /v1/traces, /v1/metrics and
	// /v1/logs are added. "" means http://127.0.0.1:4318.
	Endpoint string

	// JSON sends JSON instead of protobuf.
	JSON bool

	// Headers are sent with every request: keys and tokens. They are never logged.
	Headers map[string]string

	// Client sends the requests. nil means a client of its own without redirects.
	Client *http.Client

	// Interval is the time between two sendings. 0 means 10 s.
	Interval time.Duration

	// Timeout bounds one request, and MaxElapsed one sending with everything that
	// is tried again. 0 means 10 s and 60 s.
	Timeout, MaxElapsed time.Duration

	// Conventions is the version of OpenTelemetry's semantic conventions whose
	// names the attributes get: 1.26.0 or 1.37.0. "" means DefaultConventions.
	Conventions string

	// Loop has its decisions sent as log records, each again with its outcome.
	// nil sends none.
	Loop *control.Loop

	// BatchSpans is how many spans go into one request at most. 0 means 512.
	BatchSpans int
}

// Exporter sends what one Watchman keeps. Its methods are safe for concurrent
// use, except that Run runs once.
type Exporter struct {
	w      *watchman.Watchman
	opt    Options
	client *http.Client
	start  time.Time

	next   uint64 // spans seen so far, for KeptSince
	groups map[groupKey]uint64
	told   told

	sent, lost, missed, rejected, failed, retried atomic.Uint64
}

// New returns an Exporter of w, which must not be nil. It does no I/O.
func New(w *watchman.Watchman, opts *Options) (*Exporter, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Endpoint == "" {
		o.Endpoint = "http://127.0.0.1:4318"
	}
	if o.Interval == 0 {
		o.Interval = 10 * time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.MaxElapsed == 0 {
		o.MaxElapsed = time.Minute
	}
	if o.Conventions == "" {
		o.Conventions = DefaultConventions
	}
	if o.BatchSpans == 0 {
		o.BatchSpans = 512
	}
	var errs []error
	if w == nil {
		errs = append(errs, errors.New("otlp: no Watchman"))
	}
	if u, err := url.Parse(o.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		errs = append(errs, errors.New("otlp: Options.Endpoint: want http:// or https:// with a host and without a password"))
	}
	if _, ok := conventions[o.Conventions]; !ok {
		errs = append(errs, fmt.Errorf("otlp: Options.Conventions %.20q: want one of %v", o.Conventions, versions()))
	}
	if o.Interval < 0 || o.Timeout < 0 || o.MaxElapsed < 0 || o.BatchSpans < 0 {
		errs = append(errs, errors.New("otlp: Options: a negative Interval, Timeout, MaxElapsed or BatchSpans"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	o.Endpoint = strings.TrimSuffix(o.Endpoint, "/")
	e := &Exporter{w: w, opt: o, client: o.Client, start: time.Now(), groups: map[groupKey]uint64{}}
	if e.client == nil {
		e.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return e, nil
}

// Stats are an Exporter's own counters; all only grow.
type Stats struct {
	Sent     uint64 `json:"sent"`     // spans that the receiver took
	Lost     uint64 `json:"lost"`     // spans that left memory before they were sent, or could not be sent
	Missed   uint64 `json:"missed"`   // decisions that left memory before they were sent
	Rejected uint64 `json:"rejected"` // spans, points and records that the receiver took none of
	Failed   uint64 `json:"failed"`   // requests given up
	Retried  uint64 `json:"retried"`  // requests tried again
}

// Stats returns a snapshot.
func (e *Exporter) Stats() Stats {
	return Stats{e.sent.Load(), e.lost.Load(), e.missed.Load(), e.rejected.Load(), e.failed.Load(), e.retried.Load()}
}

// Run sends at every Options.Interval until ctx is done, and then once more
// with Options.Timeout to do it.
func (e *Exporter) Run(ctx context.Context) {
	t := time.NewTicker(e.opt.Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.opt.Timeout)
			defer cancel()
			_ = e.flush(last) // counted; nobody is there to be told
			return
		case <-t.C:
			_ = e.flush(ctx) // counted, and shown by Stats
		}
	}
}

// flush sends everything there is. What fails for good is counted and left out.
func (e *Exporter) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.opt.MaxElapsed)
	defer cancel()
	var errs []error
	for {
		spans, next, missed := e.w.KeptSince(e.next, e.opt.BatchSpans)
		e.lost.Add(missed)
		if next == e.next {
			break
		}
		e.next = next
		if len(spans) == 0 {
			continue
		}
		rejected, err := e.send(ctx, "/v1/traces", e.traces(spans))
		if err != nil {
			e.lost.Add(uint64(len(spans)))
			errs = append(errs, err)
			break
		}
		e.rejected.Add(rejected)
		e.sent.Add(uint64(len(spans)) - min(rejected, uint64(len(spans))))
	}
	if m := e.metrics(); m != nil {
		rejected, err := e.send(ctx, "/v1/metrics", m)
		e.rejected.Add(rejected)
		errs = append(errs, err)
	}
	records, groups := e.errorRecords()
	decisions, told := e.decisionRecords()
	if records = append(records, decisions...); len(records) > 0 {
		rejected, err := e.send(ctx, "/v1/logs", e.logs(records))
		e.rejected.Add(rejected)
		errs = append(errs, err)
		if err == nil {
			e.groups, e.told = groups, told
		}
	}
	return errors.Join(errs...)
}

// ErrRefused is wrapped by errors about a receiver that said no for good.
var ErrRefused = errors.New("otlp: the receiver refused")

// maxReply bounds what is read of a reply.
const maxReply = 64 << 10

// send posts a message until it is taken, refused or out of time. It returns
// how much of it the receiver did not want.
func (e *Exporter) send(ctx context.Context, path string, m proto.Message) (rejected uint64, err error) {
	body, contentType, err := e.encode(m)
	if err != nil {
		e.failed.Add(1)
		return 0, err
	}
	wait := time.Second
	for {
		var again bool
		var after time.Duration
		rejected, again, after, err = e.post(ctx, path, contentType, body)
		if err == nil {
			return rejected, nil
		}
		if !again {
			break
		}
		if after == 0 {
			after = wait/2 + rand.N(wait)
			wait = min(2*wait, 30*time.Second)
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < after {
			break
		}
		e.retried.Add(1)
		select {
		case <-ctx.Done():
			e.failed.Add(1)
			return 0, fmt.Errorf("otlp: %s: %w", path, ctx.Err())
		case <-time.After(after):
		}
	}
	e.failed.Add(1)
	return 0, err
}

func (e *Exporter) encode(m proto.Message) (body []byte, contentType string, err error) {
	contentType = "application/x-protobuf"
	if e.opt.JSON {
		contentType = "application/json"
		body, err = MarshalJSON(m)
	} else {
		body, err = proto.Marshal(m)
	}
	if err != nil {
		return nil, "", fmt.Errorf("otlp: %w", err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err = z.Write(body)
	err = errors.Join(err, z.Close())
	return b.Bytes(), contentType, err
}

func (e *Exporter) post(ctx context.Context, path, contentType string, body []byte) (rejected uint64, again bool, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.opt.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.opt.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return 0, false, 0, fmt.Errorf("otlp: %s: %w", path, err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Content-Encoding", "gzip")
	for k, v := range e.opt.Headers {
		r.Header.Set(k, v)
	}
	res, err := e.client.Do(r)
	if err != nil {
		return 0, true, 0, fmt.Errorf("otlp: %s: %w", path, err)
	}
	defer res.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	switch res.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		if err != nil || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/x-protobuf") {
			return 0, false, 0, nil // taken; what else it says cannot be read
		}
		return partialSuccess(reply), false, 0, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return 0, true, retryAfter(res.Header.Get("Retry-After"), time.Now()), fmt.Errorf("otlp: %s: %s", path, res.Status)
	default:
		return 0, false, 0, fmt.Errorf("%w %s: %s", ErrRefused, path, res.Status)
	}
}

// retryAfter reads seconds or a date; 0 if it is neither or past. More than an
// hour counts as an hour.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, time.Hour)
	}
	if t, err := http.ParseTime(s); err == nil {
		return min(max(t.Sub(now), 0), time.Hour)
	}
	return 0
}

// partialSuccess reads how many items an Export…ServiceResponse rejects: field
// 1, a message whose field 1 is the number. The generated types are not used
// because their package links gRPC. Anything unexpected counts as none.
func partialSuccess(b []byte) uint64 {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0
		}
		b = b[n:]
		if num == 1 && typ == protowire.BytesType {
			inner, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return 0
			}
			return rejectedItems(inner)
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return 0
		}
		b = b[n:]
	}
	return 0
}

func rejectedItems(b []byte) uint64 {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0
		}
		b = b[n:]
		if num == 1 && typ == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b)
			if n < 0 || int64(v) < 0 {
				return 0
			}
			return v
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return 0
		}
		b = b[n:]
	}
	return 0
}
