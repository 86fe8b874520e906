package main

import (
	"fmt"
	"io"
	"time"

	"github.com/heddle-go/heddle/watchman/control"
)

// report prints both runs side by side and the result.
func (d *drill) report(w io.Writer, off, on *record) {
	fmt.Fprintf(w, "\n%4s  %-18s | %-28s | %-36s\n", "", "", "loop off", "loop on")
	fmt.Fprintf(w, "%4s  %-18s | %5s %6s %7s %7s | %5s %5s %7s %6s %7s\n", "s", "", "full", "failed", "refused", "p99", "full", "copy", "refused", "failed", "p99")
	next := 0
	for i := range max(len(off.seconds), len(on.seconds)) {
		a, b := off.at(i), on.at(i)
		fmt.Fprintf(w, "%4d  %-18s | %5d %6d %7d %5dms | %5d %5d %7d %6d %5dms\n", i, off.phaseAt(i),
			a.full, a.failed, a.refused, a.p99().Milliseconds(), b.full, b.copies, b.refused, b.failed, b.p99().Milliseconds())
		for ; next < len(on.decisions) && int(on.decisions[next].At.Sub(on.began)/time.Second) <= i; next++ {
			c := on.decisions[next]
			fmt.Fprintf(w, "      at %.1f s: %s %v → %v: %s\n", c.At.Sub(on.began).Seconds(), c.Setting, c.Before, c.After, c.Reason)
		}
	}
	fmt.Fprintf(w, "\nwhile capacity was lost: %.1f full answers a second without the loop, %.1f with, %.1f possible\n",
		off.fullRate(1), on.fullRate(1), d.possible())
	fmt.Fprintf(w, "while the store was slow: %.1f %% answered in time without the loop, %.1f %% with\n",
		100*off.served(3), 100*on.served(3))
	if at, ok := on.engaged(3); ok {
		fmt.Fprintf(w, "the copy was used %.1f s after the store became slow\n", at.Seconds())
	} else {
		fmt.Fprintln(w, "the copy was not used while the store was slow")
	}
	if late := max(off.late, on.late); late > maxLate {
		fmt.Fprintf(w, "this machine was busy with something else: requests were sent up to %v late, and the services were as slow\n", late.Round(time.Millisecond))
	}
	fmt.Fprintf(w, "result off_goodput=%.1f%% on_goodput=%.1f%% off_recovery=%s on_recovery=%s oscillations=%d\n",
		100*off.fullRate(1)/d.possible(), 100*on.fullRate(1)/d.possible(), d.recovery(off), d.recovery(on), oscillations(on.decisions))
}

// maxLate is the lateness from which a run says more about the machine than
// about the platform.
const maxLate = 100 * time.Millisecond

func (r *record) at(i int) second {
	if i < len(r.seconds) {
		return r.seconds[i]
	}
	return second{}
}

// start is when the n-th phase begins.
func (r *record) start(n int) time.Duration {
	var at time.Duration
	for _, p := range r.phases[:n] {
		at += p.length
	}
	return at
}

func (r *record) phaseAt(i int) string {
	for n := len(r.phases) - 1; n >= 0; n-- {
		if time.Duration(i)*time.Second >= r.start(n) {
			return r.phases[n].name
		}
	}
	return ""
}

// span is the whole seconds of the n-th phase.
func (r *record) span(n int) (from, to int) {
	from = int((r.start(n) + time.Second - 1) / time.Second)
	return from, int((r.start(n) + r.phases[n].length) / time.Second)
}

// fullRate is the full answers a second in the n-th phase.
func (r *record) fullRate(n int) float64 {
	from, to := r.span(n)
	sum := 0
	for i := from; i < to; i++ {
		sum += r.at(i).full
	}
	return float64(sum) / float64(max(to-from, 1))
}

// served is the share of the requests of the n-th phase that were answered in
// time, in full or by a copy.
func (r *record) served(n int) float64 {
	from, to := r.span(n)
	good, all := 0, 0
	for i := from; i < to; i++ {
		s := r.at(i)
		good += s.full + s.copies
		all += s.full + s.copies + s.refused + s.failed
	}
	return float64(good) / float64(max(all, 1))
}

// engaged is how long after the beginning of the n-th phase the switch turned.
func (r *record) engaged(n int) (time.Duration, bool) {
	for _, d := range r.decisions {
		at := d.At.Sub(r.began) - r.start(n)
		if d.After != 0 && at >= 0 && at < r.phases[n].length {
			return at, true
		}
	}
	return 0, false
}

// recovery is the longer of the two times from the end of a fault to a second
// with 95 % full answers.
func (d *drill) recovery(r *record) string {
	worst, never := 0, false
	for _, n := range []int{2, 4} {
		from, to := r.span(n)
		i := from
		for i < to && float64(r.at(i).full) < 0.95*float64(d.offered()) {
			i++
		}
		if i == to {
			never = true
		}
		worst = max(worst, i-from)
	}
	if never {
		return fmt.Sprintf(">%ds", worst)
	}
	return fmt.Sprintf("%ds", worst)
}

// oscillations counts changes of direction less than five seconds after the one
// before.
func oscillations(list []control.Decision) int {
	n := 0
	for i := 1; i < len(list); i++ {
		up, before := list[i].After > list[i].Before, list[i-1].After > list[i-1].Before
		if up != before && list[i].At.Sub(list[i-1].At) < 5*time.Second {
			n++
		}
	}
	return n
}
