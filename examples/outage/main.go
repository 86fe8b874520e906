// Outage is a drill: three services over HTTP on loopback, web → feed → store,
// under a steady load of 80 % of what the store can do. Then the store loses
// 80 % of its capacity, recovers, becomes five times slower, and recovers.
//
//	go run ./examples/outage
//
// The drill runs twice, first with watchman's control loop off and then on, and
// prints both side by side, second by second, with what the loop decided and
// why. It ends with one line
//
//	result off_goodput=X% on_goodput=Y% off_recovery=Ss on_recovery=Ss oscillations=N
//
// Goodput is the share of full answers within the time limit, of what the store
// could have given while its capacity was lost. Recovery is the time from the
// end of a fault until 95 % of a second's requests are answered in full again,
// the longer of the two faults; ">S" says that the phase was over before.
// Oscillations are changes of direction within five seconds of the one before.
// On two cores of an Intel Xeon, with nothing else going on, two runs ended with
//
//	result off_goodput=3.3% on_goodput=97.6% off_recovery=>5s on_recovery=3s oscillations=0
//	result off_goodput=2.6% on_goodput=100.2% off_recovery=>5s on_recovery=2s oscillations=0
//
// and the copy was used 1.9 and 1.7 s after the store became slow.
//
// What helps while capacity is lost is a limiter that admits as much as goes
// well and refuses the rest at once. What helps against a store that is slow by
// nature is a switch: web answers from a copy and lets a few requests through
// to see when the store is well again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	d := drill{}
	flag.IntVar(&d.workers, "workers", 40, "what the store works on at once when it is well; 4 to 1000")
	flag.DurationVar(&d.phase, "phase", 10*time.Second, "how long each fault lasts; at least 4s")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "outage:", err)
		os.Exit(1)
	}
}

// drill is what both runs have in common.
type drill struct {
	workers int
	phase   time.Duration
}

const (
	service   = 50 * time.Millisecond  // the store's mean time for a request
	timeLimit = 300 * time.Millisecond // what a user waits
)

// offered is the load: 80 % of the store's capacity, in requests a second.
func (d *drill) offered() int { return int(0.8 * float64(d.workers) / service.Seconds()) }

// possible is what the store can do with its capacity lost.
func (d *drill) possible() float64 { return float64(d.left()) / service.Seconds() }

// left is how many workers are left when capacity is lost.
func (d *drill) left() int { return max(d.workers/5, 1) }

// phases are the drill's parts in order.
func (d *drill) phases() []phase {
	well := max(d.phase/2, 4*time.Second)
	return []phase{
		{"well", 3 * time.Second, d.workers, 1},
		{"capacity lost", d.phase, d.left(), 1},
		{"well again", well, d.workers, 1},
		{"five times slower", d.phase, d.workers, 5},
		{"well again", well, d.workers, 1},
	}
}

type phase struct {
	name    string
	length  time.Duration
	workers int
	slower  int
}

func (d *drill) run(ctx context.Context) error {
	if d.workers < 4 || d.workers > 1000 || d.phase < 4*time.Second {
		return errors.New("want -workers 4 to 1000 and -phase of at least 4s")
	}
	fmt.Printf("%d requests a second to a store of %d workers at %v each; a user waits %v\n", d.offered(), d.workers, service, timeLimit)
	var runs [2]*record
	for i, on := range []bool{false, true} {
		fmt.Printf("running with the loop %s …\n", map[bool]string{false: "off", true: "on"}[on])
		r, err := d.play(ctx, on)
		if err != nil {
			return err
		}
		runs[i] = r
	}
	d.report(os.Stdout, runs[0], runs[1])
	return nil
}
