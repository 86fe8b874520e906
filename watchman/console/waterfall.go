package console

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// row is a span in the waterfall.
type row struct {
	watchman.SpanRecord
	Depth    int
	Indent   int // pixels
	Offset   time.Duration
	X, W     string // of the bar, in percent
	Bars     []bar  // phases
	Self     time.Duration
	Critical bool // on the path that decided how long the trace took
	Orphan   bool // its parent is not here
	Children int
}

type bar struct {
	Name string
	X, W string
	Took time.Duration
	Odd  bool
}

// fall is a trace as rows, parents before children.
type fall struct {
	Rows     []row
	Begin    time.Time
	Duration time.Duration
	Services []string
	Errors   int
}

// maxDepth bounds indentation and recursion.
const maxDepth = 100

func newFall(spans []watchman.SpanRecord) fall {
	if len(spans) == 0 {
		return fall{}
	}
	byID := map[watchman.SpanID]int{}
	for i := range spans {
		byID[spans[i].SpanID] = i
	}
	f := fall{Begin: spans[0].Start}
	end := spans[0].Start
	children := map[int][]int{}
	var roots []int
	services := map[string]bool{}
	for i := range spans {
		s := &spans[i]
		if s.Start.Before(f.Begin) {
			f.Begin = s.Start
		}
		if e := s.Start.Add(s.Duration); e.After(end) {
			end = e
		}
		if s.Error != "" {
			f.Errors++
		}
		services[s.Service] = true
		if p, ok := byID[s.Parent]; ok && p != i {
			children[p] = append(children[p], i)
		} else {
			roots = append(roots, i)
		}
	}
	f.Duration = end.Sub(f.Begin)
	for s := range services {
		f.Services = append(f.Services, s)
	}
	slices.Sort(f.Services)
	byStart := func(a, b int) int { return cmp.Or(spans[a].Start.Compare(spans[b].Start), cmp.Compare(a, b)) }
	slices.SortFunc(roots, byStart)
	for _, list := range children {
		slices.SortFunc(list, byStart)
	}
	critical := criticalPath(spans, children, roots)
	done := make([]bool, len(spans))
	var walk func(i, depth int)
	walk = func(i, depth int) {
		if done[i] {
			return
		}
		done[i] = true
		s := spans[i]
		r := row{SpanRecord: s, Depth: depth, Indent: 14 * min(depth, 20), Offset: s.Start.Sub(f.Begin), Critical: critical[i], Children: len(children[i]), Self: s.Duration - covered(spans, s, children[i])}
		r.X, r.W = f.place(r.Offset, s.Duration)
		for k, p := range s.Phases {
			b := bar{Name: p.Name, Took: p.Duration, Odd: k%2 == 1}
			b.X, b.W = f.place(r.Offset+p.Offset, p.Duration)
			r.Bars = append(r.Bars, b)
		}
		_, known := byID[s.Parent]
		r.Orphan = s.Parent.IsValid() && !known
		f.Rows = append(f.Rows, r)
		if depth < maxDepth {
			for _, c := range children[i] {
				walk(c, depth+1)
			}
		}
	}
	for _, i := range roots {
		walk(i, 0)
	}
	for i := range spans { // cycles, and what is deeper than anybody looks
		walk(i, 0)
	}
	return f
}

func (f *fall) place(offset, took time.Duration) (x, w string) {
	whole := float64(max(f.Duration, 1))
	return fmt.Sprintf("%.3f%%", 100*float64(offset)/whole), fmt.Sprintf("%.3f%%", max(100*float64(took)/whole, 0.15))
}

// covered is how much of s its children cover.
func covered(spans []watchman.SpanRecord, s watchman.SpanRecord, children []int) time.Duration {
	var sum time.Duration
	at, end := s.Start, s.Start.Add(s.Duration)
	for _, c := range children { // by start
		from, to := spans[c].Start, spans[c].Start.Add(spans[c].Duration)
		if from.Before(at) {
			from = at
		}
		if to.After(end) {
			to = end
		}
		if to.After(from) {
			sum += to.Sub(from)
			at = to
		}
	}
	return sum
}

// criticalPath marks the spans that the end of the trace waited for: from the
// end of a span back, the child that ended last before that point.
func criticalPath(spans []watchman.SpanRecord, children map[int][]int, roots []int) map[int]bool {
	path := map[int]bool{}
	if len(roots) == 0 {
		return path
	}
	work := []int{roots[0]}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		if path[i] {
			continue
		}
		path[i] = true
		at := spans[i].Start.Add(spans[i].Duration)
		list := slices.Clone(children[i])
		slices.SortFunc(list, func(a, b int) int {
			return spans[b].Start.Add(spans[b].Duration).Compare(spans[a].Start.Add(spans[a].Duration))
		})
		for _, c := range list {
			if end := spans[c].Start.Add(spans[c].Duration); end.After(at) {
				continue // went on beside what was waited for
			}
			work = append(work, c)
			at = spans[c].Start
		}
	}
	return path
}
