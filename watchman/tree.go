package watchman

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// WriteTree prints spans, which may come from several processes, as a tree:
// one line a span with its offset from the first, its duration, its service,
// kind and name, its facts and its error. A span whose parent is not among
// spans is marked; a span given twice is printed once.
func WriteTree(w io.Writer, spans []SpanRecord) error {
	byID := map[SpanID]SpanRecord{}
	var order []SpanID
	for _, s := range spans {
		if _, ok := byID[s.SpanID]; !ok {
			order = append(order, s.SpanID)
			byID[s.SpanID] = s
		}
	}
	slices.SortStableFunc(order, func(a, b SpanID) int { return byID[a].Start.Compare(byID[b].Start) })
	children := map[SpanID][]SpanID{}
	var roots []SpanID
	for _, id := range order {
		parent := byID[id].Parent
		if _, ok := byID[parent]; ok && parent != id {
			children[parent] = append(children[parent], id)
		} else {
			roots = append(roots, id)
		}
	}
	t := treeWriter{w: bufio.NewWriter(w), spans: byID, children: children, done: map[SpanID]bool{}}
	if len(order) > 0 {
		t.begin = byID[order[0]].Start
	}
	for _, id := range roots {
		t.write(id, "", "")
	}
	for _, id := range order { // what hangs on a cycle hangs on no root
		if !t.done[id] {
			t.write(id, "", "")
		}
	}
	return t.w.Flush()
}

type treeWriter struct {
	w        *bufio.Writer
	spans    map[SpanID]SpanRecord
	children map[SpanID][]SpanID
	done     map[SpanID]bool
	begin    time.Time
}

// maxTreeDepth bounds the indentation, and with it the recursion.
const maxTreeDepth = 200

func (t *treeWriter) write(id SpanID, first, rest string) {
	if t.done[id] || strings.Count(rest, " ") > 3*maxTreeDepth {
		return
	}
	t.done[id] = true
	s := t.spans[id]
	fmt.Fprintf(t.w, "%10s %10s  %s%s %s %s", "+"+short(s.Start.Sub(t.begin)), short(s.Duration), first, s.Service, s.Kind, printable(s.Name))
	for _, a := range s.Attrs {
		fmt.Fprintf(t.w, " %s=%s", printable(a.Key), printable(a.Value))
	}
	if s.Error != "" {
		fmt.Fprintf(t.w, " error=%q", s.Error)
	}
	if _, ok := t.spans[s.Parent]; s.Parent.IsValid() && !ok {
		fmt.Fprintf(t.w, " (parent %s missing)", s.Parent)
	}
	t.w.WriteByte('\n')
	kids := t.children[id]
	for i, kid := range kids {
		if i == len(kids)-1 {
			t.write(kid, rest+"└─ ", rest+"   ")
		} else {
			t.write(kid, rest+"├─ ", rest+"│  ")
		}
	}
}

func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2fms", float64(d)/float64(time.Millisecond))
	default:
		return fmt.Sprintf("%.0fµs", float64(d)/float64(time.Microsecond))
	}
}

// printable keeps control bytes in names and values off the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
