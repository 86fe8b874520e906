package watchman_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/heddle-go/heddle/watchman"
)

func ExampleWatchman() {
	w, err := watchman.New("shop", &watchman.Options{Sample: -1}) // sample nothing …
	if err != nil {
		panic(err)
	}
	op := w.Operation(watchman.Server, "GET /cart")
	_, span := op.Start(context.Background())
	span.End(errors.New("database gone"))
	for _, t := range w.Traces(10) { // … and find what failed
		fmt.Println(t.Keep, t.Name, w.Trace(t.TraceID)[0].Error)
	}
	// Output: error GET /cart database gone
}

func ExampleSwitch() {
	w, _ := watchman.New("shop", nil)
	ads := w.Switch("shop.ads.off", false)
	w.SetSwitch("shop.ads.off", true, "ann", "New Year")
	fmt.Println(ads.On(), w.Switches()[0].By)
	// Output: true ann
}
