package otelbridge

import (
	"context"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/heddle-go/heddle/watchman"
)

// Producer returns a metric.Producer of the Watchman's figures, for a reader:
//
//	metric.NewPeriodicReader(exporter, metric.WithProducer(provider.Producer()))
//
// It makes exponential histograms heddle.operation.duration in seconds and sums
// heddle.operation.errors, both cumulative, by heddle.kind and heddle.operation.
func (p *Provider) Producer() metric.Producer { return &producer{p.w, time.Now()} }

type producer struct {
	w     *watchman.Watchman
	start time.Time
}

const scale = 3 // eight buckets an octave

func (p *producer) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	hist := metricdata.ExponentialHistogram[float64]{Temporality: metricdata.CumulativeTemporality}
	failed := metricdata.Sum[int64]{Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
	now := time.Now()
	for o := range p.w.Handles() {
		d := o.Distribution()
		calls := d.Calls()
		if calls == 0 {
			continue
		}
		attrs := attribute.NewSet(attribute.String("heddle.kind", o.Kind().String()), attribute.String("heddle.operation", o.Name()))
		point := metricdata.ExponentialHistogramDataPoint[float64]{
			Attributes: attrs, StartTime: p.start, Time: now, Count: calls, Sum: d.Sum.Seconds(), Scale: scale,
		}
		first := 0
		for upper, n := range d.Buckets() {
			i := int(math.Ceil(math.Log2(upper.Seconds()*17/18)*(1<<scale))) - 1 // of the middle
			b := &point.PositiveBucket
			if b.Counts == nil {
				first, b.Offset = i, int32(i)
			}
			for len(b.Counts) <= i-first {
				b.Counts = append(b.Counts, 0)
			}
			b.Counts[i-first] += n
		}
		for _, x := range o.Exemplars() {
			point.Exemplars = append(point.Exemplars, metricdata.Exemplar[float64]{Time: x.At, Value: x.Duration.Seconds(), TraceID: x.TraceID[:]})
		}
		hist.DataPoints = append(hist.DataPoints, point)
		failed.DataPoints = append(failed.DataPoints, metricdata.DataPoint[int64]{Attributes: attrs, StartTime: p.start, Time: now, Value: int64(d.Errors)})
	}
	if len(hist.DataPoints) == 0 {
		return nil, nil
	}
	return []metricdata.ScopeMetrics{{
		Scope: instrumentation.Scope{Name: "github.com/heddle-go/heddle/watchman"},
		Metrics: []metricdata.Metrics{
			{Name: "heddle.operation.duration", Unit: "s", Description: "How long calls took.", Data: hist},
			{Name: "heddle.operation.errors", Unit: "{call}", Description: "Calls that failed.", Data: failed},
		},
	}}, nil
}
