package watchman_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/heddle-go/heddle/watchman"
)

// What holds a span's facts is used again for other spans, so no fact, phase or
// link may turn up where it was not added: not those of traces that the ring or
// the store pushed out, nor those that somebody adds after the end.
func TestFactsStayWithTheirSpan(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: 0.1, KeepTraces: 8, RecentTraces: 4})
	op, sub := w.Operation(watchman.Server, "op"), w.Operation(watchman.Client, "sub")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 3000 {
				ctx, root := op.Start(context.Background())
				_, child := sub.Start(ctx)
				id := child.SpanContext().SpanID.String()
				facts, phases, links := i%20, i%11, i%3
				for range facts {
					child.SetAttr("id", id)
				}
				for range phases {
					child.Phase(id)
				}
				for range links {
					child.AddLink(child.SpanContext())
				}
				child.End(nil)
				child.SetAttr("late", id)
				child.Phase("late")
				root.End(nil)
				trace := root.SpanContext().TraceID
				if i%4 == 0 {
					_, _ = w.KeepTrace(trace, "wanted") // it may have gone
				}
				for _, r := range w.Trace(trace) {
					if err := belongs(r, facts, phases, links); err != nil {
						t.Errorf("%s with %d facts, %d phases and %d links: %v", r.Name, facts, phases, links, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

func belongs(r watchman.SpanRecord, facts, phases, links int) error {
	if r.Name == "op" {
		facts, phases, links = 0, 0, 0
	}
	if len(r.Attrs) != min(facts, 16) || len(r.Phases) != phases || len(r.Links) != links {
		return fmt.Errorf("%+v", r)
	}
	for _, a := range r.Attrs {
		if a.Value != r.SpanID.String() {
			return fmt.Errorf("fact %+v on %s", a, r.SpanID)
		}
	}
	for _, p := range r.Phases {
		if p.Name != r.SpanID.String() {
			return fmt.Errorf("phase %+v on %s", p, r.SpanID)
		}
	}
	for _, l := range r.Links {
		if l.SpanID != r.SpanID {
			return fmt.Errorf("link %+v on %s", l, r.SpanID)
		}
	}
	return nil
}
