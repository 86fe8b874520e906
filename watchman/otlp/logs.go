package otlp

import (
	"fmt"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/control"
)

func (e *Exporter) logs(records []*logspb.LogRecord) proto.Message {
	return &logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{
		Resource:  resource(e.w.Service(), e.w.Release()),
		ScopeLogs: []*logspb.ScopeLogs{{Scope: &commonpb.InstrumentationScope{Name: scopeName}, LogRecords: records}},
	}}}
}

type groupKey struct {
	kind                    watchman.Kind
	operation, chain, frame string
}

// errorRecords is a record for every kind of error that was seen since the last
// time, and what to remember if they are taken.
func (e *Exporter) errorRecords() (records []*logspb.LogRecord, seen map[groupKey]uint64) {
	n := conventions[e.opt.Conventions]
	seen = map[groupKey]uint64{}
	for _, g := range e.w.Errors() {
		key := groupKey{g.Kind, g.Operation, g.Chain, g.Frame}
		seen[key] = g.Count
		fresh := g.Count - e.groups[key]
		if fresh == 0 {
			continue
		}
		r := &logspb.LogRecord{
			TimeUnixNano: unixNano(g.Last), ObservedTimeUnixNano: unixNano(time.Now()),
			SeverityNumber: logspb.SeverityNumber_SEVERITY_NUMBER_ERROR, SeverityText: "ERROR",
			Body: text("", g.Text).Value,
			Attributes: []*commonpb.KeyValue{
				text(n.exceptionType, g.Chain), text(n.exceptionMessage, g.Text), text("heddle.operation", g.Operation),
				text("heddle.kind", g.Kind.String()), text(n.fn, g.Frame),
				whole("heddle.error.count", fresh),
			},
		}
		if n := len(g.Traces); n > 0 {
			r.TraceId = g.Traces[n-1][:]
		}
		if len(g.Stack) > 0 {
			r.Attributes = append(r.Attributes, text(n.exceptionStack, strings.Join(g.Stack, "\n")))
		}
		records = append(records, r)
	}
	return records, seen
}

// told is which decisions the receiver has.
type told struct {
	upTo     uint64          // the newest one's number
	outcomes map[uint64]bool // of those still in memory, the ones whose outcome it has
}

// The names of the events.
const (
	eventDecision = "heddle.decision"
	eventOutcome  = "heddle.decision.outcome"
)

// decisionRecords is a record for every decision and every outcome since the
// last time, oldest first, and what to remember if they are taken.
func (e *Exporter) decisionRecords() ([]*logspb.LogRecord, told) {
	if e.opt.Loop == nil {
		return nil, e.told
	}
	list := e.opt.Loop.Decisions() // newest first
	next := told{e.told.upTo, map[uint64]bool{}}
	var records []*logspb.LogRecord
	for i := len(list) - 1; i >= 0; i-- {
		d := &list[i]
		if d.ID > e.told.upTo {
			e.missed.Add(d.ID - next.upTo - 1)
			next.upTo = d.ID
			records = append(records, decisionRecord(d, eventDecision, d.At))
		}
		if d.Outcome != nil {
			next.outcomes[d.ID] = true
			if !e.told.outcomes[d.ID] {
				records = append(records, decisionRecord(d, eventOutcome, d.At.Add(d.Outcome.After)))
			}
		}
	}
	return records, next
}

func decisionRecord(d *control.Decision, event string, at time.Time) *logspb.LogRecord {
	r := &logspb.LogRecord{
		TimeUnixNano: unixNano(at), ObservedTimeUnixNano: unixNano(time.Now()), EventName: event,
		SeverityNumber: logspb.SeverityNumber_SEVERITY_NUMBER_INFO, SeverityText: "INFO",
		Attributes: []*commonpb.KeyValue{
			whole("heddle.decision.id", d.ID), text("heddle.policy", d.Policy), text("heddle.objective", d.Objective), text("heddle.mode", d.Mode),
			text("heddle.setting", d.Setting), float("heddle.before", d.Before), float("heddle.after", d.After),
		},
	}
	if n := len(d.Traces); n > 0 {
		r.TraceId = d.Traces[0][:]
	}
	if event == eventOutcome {
		o := d.Outcome
		r.Body = text("", fmt.Sprintf("%s: %.1f %% bad before, %.1f %% after %v", o.Objective, 100*o.Before.BadRatio(), 100*o.Now.BadRatio(), o.After.Round(time.Millisecond))).Value
		r.Attributes = append(r.Attributes, flag("heddle.helped", o.Helped), flag("heddle.reverted", o.Reverted),
			float("heddle.before.bad_ratio", o.Before.BadRatio()), float("heddle.now.bad_ratio", o.Now.BadRatio()))
		return r
	}
	r.Body = text("", d.Reason).Value
	r.Attributes = append(r.Attributes,
		whole("heddle.window.calls", d.Window.Calls), whole("heddle.window.bad", d.Window.Bad), whole("heddle.window.rejected", d.Window.Rejected),
		float("heddle.enter", d.Enter), float("heddle.leave", d.Leave), float("heddle.burn.1h", d.Burn))
	if d.TTL > 0 {
		r.Attributes = append(r.Attributes, float("heddle.ttl", d.TTL.Seconds()))
	}
	if d.ErrorGroup != "" {
		r.Attributes = append(r.Attributes, text("heddle.error_group", d.ErrorGroup))
	}
	return r
}

func whole(k string, v uint64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: k, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: int64(v)}}}
}

func float(k string, v float64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: k, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: v}}}
}

func flag(k string, v bool) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: k, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v}}}
}
