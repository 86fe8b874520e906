package watchman

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is an operation's place in a call.
type Kind uint8

const (
	Internal Kind = iota // work inside a process
	Server               // answers a remote call
	Client               // makes a remote call
	Producer             // hands a message to a queue
	Consumer             // works on a message from a queue
)

var kindNames = [...]string{"internal", "server", "client", "producer", "consumer"}

// String returns the kind's lower-case name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Operation is the handle of one route, method or queue. It is safe for
// concurrent use. The methods of a nil *Operation do nothing.
type Operation struct {
	w    *Watchman
	kind Kind
	name string
	red  red

	slowAfter atomic.Int64 // nanoseconds after which a local root is slow
	keeps     keepBudget

	mu    sync.Mutex // serializes adding edges
	edges atomic.Pointer[map[edgeKey]*red]
}

// edgeKey is a caller: an operation of this process, or another service.
type edgeKey struct {
	local  *Operation
	remote string
}

// maxEdges bounds the callers told apart; further ones share an edge.
const maxEdges = 256

// Name is the operation's name.
func (o *Operation) Name() string {
	if o == nil {
		return ""
	}
	return o.name
}

// Start begins a span: a child of the one in ctx, or the root of a new trace.
// The context it returns is the span, so both cost one allocation together.
func (o *Operation) Start(ctx context.Context) (context.Context, *Span) {
	if o == nil {
		return ctx, nil
	}
	s := &Span{Context: ctx, op: o}
	if parent := FromContext(ctx); parent != nil && parent.op.w == o.w {
		s.traceID, s.parent, s.flags = parent.traceID, parent.spanID, parent.flags
		s.more = parent.more
		s.local, s.generation = parent.local, parent.generation
		s.edge = o.edge(edgeKey{local: parent.op})
	} else if parent != nil {
		o.continueFrom(s, parent.SpanContext())
	} else {
		o.root(s)
	}
	s.begin()
	return s, s
}

// StartRemote begins the span that continues a trace from the wire. It is a
// local root: when it ends, the fate of the trace's part in this process is
// decided. An invalid parent begins a new trace that still has parent's baggage.
func (o *Operation) StartRemote(ctx context.Context, parent SpanContext) (context.Context, *Span) {
	if o == nil {
		return ctx, nil
	}
	s := &Span{Context: ctx, op: o}
	o.continueFrom(s, parent)
	s.begin()
	return s, s
}

func (o *Operation) continueFrom(s *Span, parent SpanContext) {
	if !parent.IsValid() {
		o.root(s)
		if parent.Baggage != "" {
			s.more = &carried{baggage: parent.Baggage}
		}
		return
	}
	s.traceID, s.parent, s.flags = parent.TraceID, parent.SpanID, parent.Flags
	if parent.State != "" || parent.Baggage != "" {
		s.more = &carried{state: parent.State, baggage: parent.Baggage}
		if caller := callerOf(parent.State); caller != "" {
			s.edge = o.edge(edgeKey{remote: caller})
		}
	}
	s.openLocal()
}

func (o *Operation) root(s *Span) {
	s.traceID, s.flags = newTraceID(), FlagRandom
	if o.w.sample != 0 && rand.Uint64() <= o.w.sample {
		s.flags |= FlagSampled
	}
	s.openLocal()
}

// Observe counts a call without a span, for work so short that a span would
// cost more than it tells. The caller in ctx gets its edge.
func (o *Operation) Observe(ctx context.Context, d time.Duration, err error) {
	if o == nil {
		return
	}
	o.red.observe(int64(d), err != nil)
	if parent := FromContext(ctx); parent != nil && parent.op.w == o.w {
		o.edge(edgeKey{local: parent.op}).observe(int64(d), err != nil)
	}
}

// edge finds the figures of one caller, adding it the first time.
func (o *Operation) edge(key edgeKey) *red {
	if m := o.edges.Load(); m != nil {
		if r := (*m)[key]; r != nil {
			return r
		}
	}
	return o.addEdge(key)
}

func (o *Operation) addEdge(key edgeKey) *red {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := map[edgeKey]*red{}
	if m := o.edges.Load(); m != nil {
		if len(*m) >= maxEdges {
			key = edgeKey{remote: otherName}
		}
		if r := (*m)[key]; r != nil {
			return r
		}
		for k, r := range *m {
			next[k] = r
		}
	}
	r := &red{}
	next[key] = r
	o.edges.Store(&next)
	return r
}

// OperationStats are an operation's figures and those of its callers.
type OperationStats struct {
	Kind    Kind        `json:"kind"`
	Name    string      `json:"name"`
	Figures             // of all calls
	Callers []EdgeStats `json:"callers,omitempty"` // busiest first
}

// EdgeStats are the figures of one caller of an operation.
type EdgeStats struct {
	Service string `json:"service"`        // the calling service
	Name    string `json:"name,omitempty"` // the calling operation if it is in this process
	Figures
}

// Operations returns the figures of every operation that was called, busiest
// first. Each figure is current; together they are no atomic snapshot.
func (w *Watchman) Operations() []OperationStats {
	if w == nil {
		return nil
	}
	w.mu.RLock()
	ops := make([]*Operation, 0, len(w.ops))
	for _, o := range w.ops {
		ops = append(ops, o)
	}
	w.mu.RUnlock()
	list := make([]OperationStats, 0, len(ops))
	for _, o := range ops {
		st := OperationStats{Kind: o.kind, Name: o.name, Figures: o.red.figures()}
		if st.Calls == 0 {
			continue
		}
		if m := o.edges.Load(); m != nil {
			for k, r := range *m {
				e := EdgeStats{Service: k.remote, Figures: r.figures()}
				if k.local != nil {
					e.Service, e.Name = w.service, k.local.name
				}
				st.Callers = append(st.Callers, e)
			}
			slices.SortFunc(st.Callers, func(a, b EdgeStats) int {
				return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name))
			})
		}
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b OperationStats) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a kind's name.
func (k *Kind) UnmarshalText(b []byte) error {
	i := slices.Index(kindNames[:], string(b))
	if i < 0 {
		return badKind(b)
	}
	*k = Kind(i)
	return nil
}
