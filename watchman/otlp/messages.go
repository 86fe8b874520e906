package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-go/heddle/watchman"
)

const scopeName = "github.com/heddle-go/heddle/watchman"

func text(k, v string) *commonpb.KeyValue {
	// Protobuf strings are UTF-8; what is not must not lose the whole batch.
	return &commonpb.KeyValue{
		Key:   strings.ToValidUTF8(k, "\uFFFD"),
		Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: strings.ToValidUTF8(v, "\uFFFD")}},
	}
}

func resource(service, release string) *resourcepb.Resource {
	r := &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
		text("service.name", service), text("telemetry.sdk.name", "heddle"), text("telemetry.sdk.language", "go"),
	}}
	if release != "" {
		r.Attributes = append(r.Attributes, text("service.version", release))
	}
	return r
}

func (e *Exporter) traces(spans []watchman.SpanRecord) proto.Message {
	return traces(spans, e.w.Release(), e.opt.Conventions)
}

// Traces is spans as an OTLP message, which Marshal of proto or MarshalJSON
// writes: for a download, or a receiver of one's own.
func Traces(spans []watchman.SpanRecord) *tracepb.TracesData {
	return traces(spans, "", DefaultConventions)
}

func traces(spans []watchman.SpanRecord, release, version string) *tracepb.TracesData {
	n := conventions[version]
	byService := map[string]*tracepb.ScopeSpans{}
	m := &tracepb.TracesData{}
	for i := range spans {
		s := &spans[i]
		scope := byService[s.Service]
		if scope == nil {
			scope = &tracepb.ScopeSpans{Scope: &commonpb.InstrumentationScope{Name: scopeName}, SchemaUrl: schemaURL(version)}
			byService[s.Service] = scope
			m.ResourceSpans = append(m.ResourceSpans, &tracepb.ResourceSpans{Resource: resource(s.Service, release), ScopeSpans: []*tracepb.ScopeSpans{scope}})
		}
		scope.Spans = append(scope.Spans, span(s, &n))
	}
	return m
}

var kinds = [...]tracepb.Span_SpanKind{
	watchman.Internal: tracepb.Span_SPAN_KIND_INTERNAL,
	watchman.Server:   tracepb.Span_SPAN_KIND_SERVER,
	watchman.Client:   tracepb.Span_SPAN_KIND_CLIENT,
	watchman.Producer: tracepb.Span_SPAN_KIND_PRODUCER,
	watchman.Consumer: tracepb.Span_SPAN_KIND_CONSUMER,
}

func span(s *watchman.SpanRecord, n *names) *tracepb.Span {
	out := &tracepb.Span{
		TraceId:           s.TraceID[:],
		SpanId:            s.SpanID[:],
		Name:              strings.ToValidUTF8(s.Name, "\uFFFD"),
		StartTimeUnixNano: unixNano(s.Start),
		EndTimeUnixNano:   unixNano(s.Start.Add(s.Duration)),
	}
	if int(s.Kind) < len(kinds) {
		out.Kind = kinds[s.Kind]
	}
	if s.Parent.IsValid() {
		out.ParentSpanId = s.Parent[:]
	}
	out.Attributes = n.describe(s.Kind, s.Name)
	for _, a := range s.Attrs {
		out.Attributes = append(out.Attributes, text(n.known(a.Key), a.Value))
	}
	if s.Keep != "" {
		out.Attributes = append(out.Attributes, text("heddle.keep", s.Keep))
	}
	if s.Error != "" {
		out.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: strings.ToValidUTF8(s.Error, "\uFFFD")}
	}
	for _, p := range s.Phases {
		out.Events = append(out.Events, &tracepb.Span_Event{
			TimeUnixNano: unixNano(s.Start.Add(p.Offset)), Name: strings.ToValidUTF8(p.Name, "\uFFFD"),
			Attributes: []*commonpb.KeyValue{text("heddle.phase.duration", p.Duration.String())},
		})
	}
	for i := range s.Links {
		out.Links = append(out.Links, &tracepb.Span_Link{TraceId: s.Links[i].TraceID[:], SpanId: s.Links[i].SpanID[:]})
	}
	return out
}

func unixNano(t time.Time) uint64 { return uint64(max(t.UnixNano(), 0)) }

// scale is that of the exponential histograms: eight buckets an octave.
const scale = 3

func (e *Exporter) metrics() proto.Message {
	now, start := unixNano(time.Now()), unixNano(e.start)
	hist := &metricspb.ExponentialHistogram{AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE}
	failed := &metricspb.Sum{AggregationTemporality: hist.AggregationTemporality, IsMonotonic: true}
	for o := range e.w.Handles() {
		d := o.Distribution()
		calls := d.Calls()
		if calls == 0 {
			continue
		}
		attrs := []*commonpb.KeyValue{text("heddle.kind", o.Kind().String()), text("heddle.operation", o.Name())}
		seconds := d.Sum.Seconds()
		p := &metricspb.ExponentialHistogramDataPoint{
			Attributes: attrs, StartTimeUnixNano: start, TimeUnixNano: now,
			Count: calls, Sum: &seconds, Scale: scale, Positive: exponential(&d),
		}
		for _, x := range o.Exemplars() {
			p.Exemplars = append(p.Exemplars, &metricspb.Exemplar{
				TimeUnixNano: unixNano(x.At), TraceId: x.TraceID[:],
				Value: &metricspb.Exemplar_AsDouble{AsDouble: x.Duration.Seconds()},
			})
		}
		hist.DataPoints = append(hist.DataPoints, p)
		failed.DataPoints = append(failed.DataPoints, &metricspb.NumberDataPoint{
			Attributes: attrs, StartTimeUnixNano: start, TimeUnixNano: now,
			Value: &metricspb.NumberDataPoint_AsInt{AsInt: int64(d.Errors)},
		})
	}
	if len(hist.DataPoints) == 0 {
		return nil
	}
	return &metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: resource(e.w.Service(), e.w.Release()),
		ScopeMetrics: []*metricspb.ScopeMetrics{{
			Scope: &commonpb.InstrumentationScope{Name: scopeName},
			Metrics: []*metricspb.Metric{
				{Name: "heddle.operation.duration", Unit: "s", Description: "How long calls took.", Data: &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: hist}},
				{Name: "heddle.operation.errors", Unit: "{call}", Description: "Calls that failed.", Data: &metricspb.Metric_Sum{Sum: failed}},
			},
		}},
	}}}
}

// exponential puts every bucket's calls into the exponential bucket that holds
// its middle.
func exponential(d *watchman.Distribution) *metricspb.ExponentialHistogramDataPoint_Buckets {
	first, counts := 0, []uint64(nil)
	for upper, n := range d.Buckets() {
		// The bucket reaches from about 8/9 of its upper end.
		middle := upper.Seconds() * 17 / 18
		// Bucket i is (base^i, base^(i+1)] with base = 2^(1/8).
		i := int(math.Ceil(math.Log2(middle)*(1<<scale))) - 1
		if counts == nil {
			first = i
		}
		for len(counts) <= i-first {
			counts = append(counts, 0)
		}
		counts[i-first] += n
	}
	return &metricspb.ExponentialHistogramDataPoint_Buckets{Offset: int32(first), BucketCounts: counts}
}

// MarshalJSON writes an OTLP message as OTLP's own JSON, which differs from
// protobuf's: ids are hex, enumerations are numbers.
func MarshalJSON(m proto.Message) ([]byte, error) {
	b, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("otlp: %w", err)
	}
	var tree any
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("otlp: %w", err)
	}
	hexIDs(tree)
	return json.Marshal(tree)
}

func hexIDs(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			s, ok := inner.(string)
			if ok && (k == "traceId" || k == "spanId" || k == "parentSpanId") {
				if id, err := base64.StdEncoding.DecodeString(s); err == nil {
					v[k] = hex.EncodeToString(id)
				}
				continue
			}
			hexIDs(inner)
		}
	case []any:
		for _, inner := range v {
			hexIDs(inner)
		}
	}
}
