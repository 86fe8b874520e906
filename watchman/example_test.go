package watchman_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/heddle-go/heddle/watchman"
)

func Example() {
	w, err := watchman.New("shop", nil)
	if err != nil {
		panic(err)
	}
	_, span := w.Operation(watchman.Server, "GET /cart").Start(context.Background())
	span.End(errors.New("database gone"))
	for _, t := range w.Traces(10) {
		fmt.Println(t.Keep, t.Name, w.Trace(t.TraceID)[0].Error)
	}
	// Output: error GET /cart database gone
}

// A server continues its caller's trace and tells it whether the trace turned
// out to be worth keeping.
func ExampleOperation_StartRemote() {
	w, _ := watchman.New("shop", nil)
	op := w.Operation(watchman.Server, "GET /cart")
	http.HandleFunc("GET /cart", func(rw http.ResponseWriter, r *http.Request) {
		ctx, span := op.StartRemote(r.Context(), watchman.FromHeader(r.Header))
		err := cart(ctx)
		if span.Keeping(err) {
			rw.Header().Set(watchman.HeaderKeep, "1")
		}
		span.End(err)
	})
}

func cart(ctx context.Context) error { return ctx.Err() }

func ExampleSwitch() {
	w, _ := watchman.New("shop", nil)
	ads := w.Switch("shop.ads.off", false)
	w.SetSwitch("shop.ads.off", true, "ann", "New Year")
	fmt.Println(ads.On(), w.Switches()[0].By)
	// Output: true ann
}

func ExampleWatchman_KeepTrace() {
	w, _ := watchman.New("shop", &watchman.Options{Sample: -1}) // sample nothing
	_, span := w.Operation(watchman.Server, "GET /cart").Start(context.Background())
	span.End(nil)
	id := span.SpanContext().TraceID
	fmt.Println(len(w.Trace(id)))
	n, err := w.KeepTrace(id, "a user complained")
	fmt.Println(n, err, w.Trace(id)[0].Keep)
	// Output:
	// 0
	// 1 <nil> a user complained
}
