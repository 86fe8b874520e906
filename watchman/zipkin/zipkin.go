// Package zipkin writes kept spans as Zipkin v2 JSON, the body of a
// POST /api/v2/spans:
//
//	body, err := zipkin.Marshal(w.Trace(id))
//
// Phases become annotations and facts become tags. Zipkin has no links; they
// become tags named link.N with TRACEID-SPANID.
package zipkin

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Span is one span of Zipkin's API, version 2.
type Span struct {
	TraceID       string            `json:"traceId"`
	ID            string            `json:"id"`
	ParentID      string            `json:"parentId,omitempty"`
	Kind          string            `json:"kind,omitempty"` // CLIENT, SERVER, PRODUCER, CONSUMER or ""
	Name          string            `json:"name"`
	Timestamp     int64             `json:"timestamp"` // microseconds since 1970
	Duration      int64             `json:"duration"`  // microseconds, at least 1
	LocalEndpoint Endpoint          `json:"localEndpoint"`
	Annotations   []Annotation      `json:"annotations,omitempty"`
	Tags          map[string]string `json:"tags,omitempty"`
}

// Endpoint names a service.
type Endpoint struct {
	ServiceName string `json:"serviceName"`
}

// Annotation is an event in a span.
type Annotation struct {
	Timestamp int64  `json:"timestamp"`
	Value     string `json:"value"`
}

var kinds = map[watchman.Kind]string{
	watchman.Server: "SERVER", watchman.Client: "CLIENT", watchman.Producer: "PRODUCER", watchman.Consumer: "CONSUMER",
}

// Spans converts records; it keeps no reference to them.
func Spans(records []watchman.SpanRecord) []Span {
	list := make([]Span, 0, len(records))
	for i := range records {
		r := &records[i]
		s := Span{
			TraceID: r.TraceID.String(), ID: r.SpanID.String(), Kind: kinds[r.Kind], Name: r.Name,
			Timestamp: r.Start.UnixMicro(), Duration: max(r.Duration.Microseconds(), 1),
			LocalEndpoint: Endpoint{r.Service},
		}
		if r.Parent.IsValid() {
			s.ParentID = r.Parent.String()
		}
		tag := func(k, v string) {
			if s.Tags == nil {
				s.Tags = map[string]string{}
			}
			s.Tags[k] = v
		}
		for _, a := range r.Attrs {
			tag(a.Key, a.Value)
		}
		for n, l := range r.Links {
			tag("link."+strconv.Itoa(n), l.TraceID.String()+"-"+l.SpanID.String())
		}
		if r.Error != "" {
			tag("error", r.Error)
		}
		if r.Keep != "" {
			tag("heddle.keep", r.Keep)
		}
		for _, p := range r.Phases {
			s.Annotations = append(s.Annotations, Annotation{r.Start.Add(p.Offset).UnixMicro(), fmt.Sprintf("%s (%v)", p.Name, p.Duration.Round(time.Microsecond))})
		}
		list = append(list, s)
	}
	return list
}

// Marshal is Spans as JSON.
func Marshal(records []watchman.SpanRecord) ([]byte, error) {
	b, err := json.Marshal(Spans(records))
	if err != nil {
		return nil, fmt.Errorf("zipkin: %w", err)
	}
	return b, nil
}
