package console

import (
	"cmp"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// graph is who calls whom, laid out in layers from left to right.
type graph struct {
	nodes map[string]*node
	edges []*edge
}

type node struct {
	id, label, sub, link string
	layer, row           int
	errorRatio           float64
}

type edge struct {
	from, to   *node
	perSecond  float64
	errorRatio float64
	p99        time.Duration
}

func (g *graph) node(id, label, sub, link string) *node {
	if n := g.nodes[id]; n != nil {
		if n.link == "" {
			n.link = link
		}
		return n
	}
	n := &node{id: id, label: label, sub: sub, link: link}
	g.nodes[id] = n
	return n
}

// maxNodes bounds what is drawn; the busiest operations come first.
const maxNodes = 60

// newGraph builds the graph of the operations of one or several processes. A
// caller that is another process watched here is drawn as its service.
func newGraph(list []Snapshot, lane string) *graph {
	g := &graph{nodes: map[string]*node{}}
	for i, s := range list {
		for _, op := range s.Operations {
			if lane != "" && !slices.ContainsFunc(op.Lanes, func(l LaneRate) bool { return l.Lane == lane }) {
				continue
			}
			if len(g.nodes) >= maxNodes {
				break
			}
			link := ""
			if i == 0 {
				link = operationLink(op.Kind, op.Name)
			}
			to := g.node(s.Service+"\x00"+op.Name+"\x00"+op.Kind.String(), op.Name, s.Service+" · "+op.Kind.String(), link)
			to.errorRatio = op.ErrorRate
			for _, c := range op.Callers {
				var from *node
				if c.Name != "" {
					from = g.caller(s, c)
				} else {
					from = g.node(c.Service, c.Service, "service", "")
				}
				if from != nil && from != to {
					g.edges = append(g.edges, &edge{from, to, c.PerSecond, c.ErrorRate, c.P99})
				}
			}
		}
	}
	// A service that calls is the right-hand end of what was called in it.
	for _, s := range list {
		if svc := g.nodes[s.Service]; svc != nil {
			for _, op := range s.Operations {
				from := g.nodes[s.Service+"\x00"+op.Name+"\x00"+op.Kind.String()]
				if from != nil && (op.Kind == watchman.Server || op.Kind == watchman.Consumer) {
					g.edges = append(g.edges, &edge{from: from, to: svc, perSecond: -1})
				}
			}
		}
	}
	g.layers()
	return g
}

// caller finds the operation of s that a call came from.
func (g *graph) caller(s Snapshot, c CallerRate) *node {
	for _, op := range s.Operations {
		if op.Name == c.Name {
			if len(g.nodes) >= maxNodes {
				return g.nodes[s.Service+"\x00"+op.Name+"\x00"+op.Kind.String()]
			}
			return g.node(s.Service+"\x00"+op.Name+"\x00"+op.Kind.String(), op.Name, s.Service+" · "+op.Kind.String(), operationLink(op.Kind, op.Name))
		}
	}
	return g.node(s.Service+"\x00"+c.Name, c.Name, s.Service, "")
}

func operationLink(kind watchman.Kind, name string) string {
	return "operation?" + url.Values{"kind": {kind.String()}, "name": {name}}.Encode()
}

// layers puts every node right of its callers, as far as there is no cycle,
// and orders each layer by the middle of its callers to cross fewer edges.
func (g *graph) layers() {
	for range len(g.nodes) {
		moved := false
		for _, e := range g.edges {
			if e.to.layer <= e.from.layer && e.from.layer+1 < len(g.nodes) && e.from.layer < 8 {
				e.to.layer = e.from.layer + 1
				moved = true
			}
		}
		if !moved {
			break
		}
	}
	byLayer := map[int][]*node{}
	last := 0
	for _, n := range g.nodes {
		byLayer[n.layer] = append(byLayer[n.layer], n)
		last = max(last, n.layer)
	}
	for l := 0; l <= last; l++ {
		list := byLayer[l]
		middle := map[*node]float64{}
		for _, n := range list {
			sum, k := 0.0, 0
			for _, e := range g.edges {
				if e.to == n && e.from.layer < l {
					sum += float64(e.from.row)
					k++
				}
			}
			if k > 0 {
				middle[n] = sum / float64(k)
			}
		}
		slices.SortFunc(list, func(a, b *node) int {
			return cmp.Or(cmp.Compare(middle[a], middle[b]), cmp.Compare(a.id, b.id))
		})
		for i, n := range list {
			n.row = i
		}
	}
}

const (
	nodeWidth  = 184
	nodeHeight = 44
	layerStep  = 330
	rowStep    = 84
)

// svg draws the graph.
func (g *graph) svg() template.HTML {
	if len(g.nodes) == 0 {
		return ""
	}
	width, height := 0, 0
	nodes := make([]*node, 0, len(g.nodes))
	for _, n := range g.nodes {
		nodes = append(nodes, n)
		width, height = max(width, n.layer*layerStep+nodeWidth), max(height, n.row*rowStep+nodeHeight)
	}
	slices.SortFunc(nodes, func(a, b *node) int { return cmp.Compare(a.id, b.id) })
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="graph" viewBox="-10 -14 %d %d" width="%d" role="img" aria-label="Who calls whom">`, width+20, height+30, width+20)
	b.WriteString(`<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="arrow" d="M0,0L8,4L0,8z"/></marker></defs>`)
	for _, e := range g.edges {
		x1, y1 := e.from.layer*layerStep+nodeWidth, e.from.row*rowStep+nodeHeight/2
		x2, y2 := e.to.layer*layerStep, e.to.row*rowStep+nodeHeight/2
		bend := 60
		if e.to.layer <= e.from.layer {
			bend = 120 // back, around the nodes
		}
		class := "edge " + tone(e.errorRatio)
		if e.perSecond < 0 {
			class = "edge inner"
		}
		fmt.Fprintf(&b, `<path class="%s" d="M%d,%dC%d,%d %d,%d %d,%d" marker-end="url(#arrow)"/>`, class, x1, y1, x1+bend, y1, x2-bend, y2, x2-2, y2)
		if e.perSecond >= 0 {
			text := number(e.perSecond) + "/s"
			if e.errorRatio > 0 {
				text += " · " + percent(e.errorRatio) + " err"
			}
			// Nearer to the callee, where edges from one caller have parted.
			x, y := x1+(x2-x1)*55/100, y1+(y2-y1)*58/100
			fmt.Fprintf(&b, `<text class="edgetext %s" text-anchor="middle" x="%d" y="%d">%s</text><text class="edgetext" text-anchor="middle" x="%d" y="%d">p99 %s</text>`,
				tone(e.errorRatio), x, y-5, text, x, y+14, duration(e.p99))
		}
	}
	for _, n := range nodes {
		x, y := n.layer*layerStep, n.row*rowStep
		if n.link != "" {
			fmt.Fprintf(&b, `<a href="%s">`, template.HTMLEscapeString(n.link))
		}
		fmt.Fprintf(&b, `<rect class="node %s" x="%d" y="%d" width="%d" height="%d" rx="6"/><text class="label" x="%d" y="%d">%s</text><text class="sub" x="%d" y="%d">%s</text><title>%s</title>`,
			tone(n.errorRatio), x, y, nodeWidth, nodeHeight, x+10, y+18, template.HTMLEscapeString(clip(22, n.label)),
			x+10, y+35, template.HTMLEscapeString(clip(30, n.sub)), template.HTMLEscapeString(n.label))
		if n.link != "" {
			b.WriteString(`</a>`)
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}
