package control_test

import (
	"context"
	"fmt"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/control"
)

// A timeline that gets slow is answered from the cache until it is well again.
func Example() {
	w, _ := watchman.New("web", nil)
	cached := w.Switch("timeline.cached", false) // a product asks it before it works
	loop, err := control.New(w,
		[]control.Objective{{Name: "timeline", Kind: watchman.Server, Operation: "GET /timeline", Latency: 200 * time.Millisecond, Target: 0.99}},
		[]control.Policy{{Name: "from cache", Objective: "timeline", Switch: cached, Enforce: true}}, nil)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop() // a program does that when it ends
	loop.Run(ctx)
	fmt.Println(loop.Verdicts()[0].State, len(loop.Decisions()))
	// Output: unknown 0
}

func ExampleLimiter() {
	l, err := control.NewLimiter("database", control.LimiterOptions{Target: 100 * time.Millisecond, Initial: 1})
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Acquire())
	fmt.Println(l.Acquire()) // refused at once
	l.Release(20*time.Millisecond, nil)
	// Output:
	// <nil>
	// control: database: 1 at once: rejected
}
