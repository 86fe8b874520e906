package watchman

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"math"
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
	// What every span reads is apart from what it writes.
	w         *Watchman
	edges     atomic.Pointer[edges]
	slowAfter atomic.Int64  // nanoseconds after which a local root is slow
	target    atomic.Int64  // nanoseconds after which a call counts as bad
	ratio     atomic.Uint64 // sampled if the 56 random bits of a new trace are below
	number    uint32        // its place in the Watchman's handles
	kind      Kind
	name      string

	exemplars [exemplarSlots]atomic.Pointer[exemplar]
	mu        sync.Mutex // serializes adding edges
	keeps     keepBudget
	begins    atomic.Uint64 // traces begun here since the ratios were set, if there is a budget
	own       red           // of the calls that have no edge
}

// edges are an operation's callers, each kind in a map of its own because the
// hash of a pointer costs a third of that of a string. They are never changed,
// only replaced.
type edges struct {
	// The first caller of this process and the first service, which are often the
	// only ones.
	first         *Operation
	firstFigures  *red
	remoteName    string
	remoteFigures *red

	local  map[*Operation]*red // an operation of this process
	remote map[string]*red     // another service
	lane   map[string]*red     // the calls of a lane are an edge too
}

// maxEdges bounds the callers told apart; further ones share an edge.
const (
	maxEdges = 256
	maxLanes = 16
)

// Kind is the operation's place in a call.
func (o *Operation) Kind() Kind {
	if o == nil {
		return Internal
	}
	return o.kind
}

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
	return o.start(ctx, o.w.now())
}

// StartAt is Start for work that began at a time that the caller has read the
// clock for: it saves a reading, and work can be given a span when it has turned
// out to be worth one. The zero time means now.
func (o *Operation) StartAt(ctx context.Context, began time.Time) (context.Context, *Span) {
	if o == nil {
		return ctx, nil
	}
	return o.start(ctx, o.w.offset(began))
}

func (o *Operation) start(ctx context.Context, began int64) (context.Context, *Span) {
	parent := FromContext(ctx)
	if parent != nil && parent.op.w == o.w {
		s := &Span{Context: ctx, op: o, local: parent.local, figures: o.localEdge(parent.op), start: began, spanID: o.w.nextSpanID(), parent: parent.spanID}
		return s, s
	}
	l := o.openLocal(ctx, began)
	if parent != nil {
		from := parent.SpanContext()
		l.continueFrom(&from)
	} else {
		l.begin()
	}
	return &l.Span, &l.Span
}

// StartRemote begins the span that continues a trace from the wire. It is a
// local root: when it ends, the fate of the trace's part in this process is
// decided. An invalid parent begins a new trace that still has parent's baggage.
func (o *Operation) StartRemote(ctx context.Context, parent SpanContext) (context.Context, *Span) {
	if o == nil {
		return ctx, nil
	}
	return o.startRemote(ctx, &parent, o.w.now())
}

// StartRemoteAt is to StartRemote what StartAt is to Start.
func (o *Operation) StartRemoteAt(ctx context.Context, parent SpanContext, began time.Time) (context.Context, *Span) {
	if o == nil {
		return ctx, nil
	}
	return o.startRemote(ctx, &parent, o.w.offset(began))
}

func (o *Operation) startRemote(ctx context.Context, parent *SpanContext, began int64) (context.Context, *Span) {
	l := o.openLocal(ctx, began)
	l.continueFrom(parent)
	return &l.Span, &l.Span
}

// StartLinked begins the root of a new trace that is linked to others: for
// work that many requests asked for together, such as a batch from a queue.
// The first parent's baggage goes with it. Invalid parents and those beyond
// the 64th are left out.
func (o *Operation) StartLinked(ctx context.Context, parents ...SpanContext) (context.Context, *Span) {
	if o == nil {
		return ctx, nil
	}
	l := o.openLocal(ctx, o.w.now())
	if len(parents) > 0 {
		l.more = carry("", parents[0].Baggage)
	}
	l.begin()
	for _, p := range parents {
		l.AddLink(p)
	}
	return &l.Span, &l.Span
}

// Observe counts a call without a span, for work so short that a span would
// cost more than it tells. The caller in ctx gets its edge.
func (o *Operation) Observe(ctx context.Context, d time.Duration, err error) {
	if o == nil {
		return
	}
	figures := &o.own
	if parent := FromContext(ctx); parent != nil && parent.op.w == o.w {
		figures = o.localEdge(parent.op)
	}
	figures.observe(int64(d), o.target.Load(), err)
}

// read sums the calls of all callers up.
func (o *Operation) read(d *Distribution) {
	o.own.read(d)
	e := o.edges.Load()
	for _, r := range e.local {
		r.addTo(d)
	}
	for _, r := range e.remote {
		r.addTo(d)
	}
}

// SetTarget makes calls that take longer than d count as bad, though they did
// not fail; 0 makes only failed ones bad, which is how an operation begins.
// Objectives set it; calls that have ended stay as they were counted.
func (o *Operation) SetTarget(d time.Duration) {
	if o == nil {
		return
	}
	if d <= 0 {
		d = math.MaxInt64
	}
	o.target.Store(int64(d))
}

// localEdge finds the figures of one caller, adding it the first time, as do
// remoteEdge and laneEdge.
func (o *Operation) localEdge(caller *Operation) *red {
	e := o.edges.Load()
	if e.first == caller {
		return e.firstFigures
	}
	if r := e.local[caller]; r != nil {
		return r
	}
	return o.addEdge(func(e *edges) *red {
		if r := e.local[caller]; r != nil || len(e.local) >= maxEdges {
			return r
		}
		r := addTo(&e.local, caller)
		if e.first == nil {
			e.first, e.firstFigures = caller, r
		}
		return r
	})
}

func (o *Operation) remoteEdge(caller string) *red {
	e := o.edges.Load()
	if e.remoteName == caller {
		return e.remoteFigures
	}
	if r := e.remote[caller]; r != nil {
		return r
	}
	return o.addEdge(func(e *edges) *red {
		if r := e.remote[caller]; r != nil || len(e.remote) >= maxEdges {
			return r
		}
		r := addTo(&e.remote, caller)
		if e.remoteName == "" {
			e.remoteName, e.remoteFigures = caller, r
		}
		return r
	})
}

func (o *Operation) laneEdge(lane string) *red {
	if r := o.edges.Load().lane[lane]; r != nil {
		return r
	}
	return o.addEdge(func(e *edges) *red {
		if r := e.lane[lane]; r != nil {
			return r
		}
		if len(e.lane) >= maxLanes {
			lane = otherName
			if r := e.lane[lane]; r != nil {
				return r
			}
		}
		return addTo(&e.lane, lane)
	})
}

// addEdge lets add put a caller into a copy of the edges; if it returns nil
// there are too many, and the remote one called "(other)" takes its calls.
func (o *Operation) addEdge(add func(*edges) *red) *red {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := *o.edges.Load()
	r := add(&next)
	if r == nil {
		if r = next.remote[otherName]; r == nil {
			r = addTo(&next.remote, otherName)
		}
	}
	o.edges.Store(&next)
	return r
}

func addTo[K comparable](m *map[K]*red, key K) *red {
	next := make(map[K]*red, len(*m)+1)
	maps.Copy(next, *m)
	r := &red{}
	next[key] = r
	*m = next
	return r
}

// OperationStats are an operation's figures and those of its callers.
type OperationStats struct {
	Kind    Kind        `json:"kind"`
	Name    string      `json:"name"`
	Figures             // of all calls
	Callers []EdgeStats `json:"callers,omitempty"` // busiest first
	Lanes   []LaneStats `json:"lanes,omitempty"`   // of the calls whose baggage names a lane, busiest first
}

// EdgeStats are the figures of one caller of an operation.
type EdgeStats struct {
	Service string `json:"service"`        // the calling service
	Name    string `json:"name,omitempty"` // the calling operation if it is in this process
	Figures
}

// LaneStats are the figures of one lane of an operation.
type LaneStats struct {
	Lane string `json:"lane"`
	Figures
}

// Handles iterates over all operations, in no order.
func (w *Watchman) Handles() iter.Seq[*Operation] {
	return func(yield func(*Operation) bool) {
		if w == nil {
			return
		}
		w.mu.RLock()
		ops := make([]*Operation, 0, len(w.ops))
		for _, o := range w.ops {
			ops = append(ops, o)
		}
		w.mu.RUnlock()
		for _, o := range ops {
			if !yield(o) {
				return
			}
		}
	}
}

// Operations returns the figures of every operation that was called, busiest
// first. Each figure is current; together they are no atomic snapshot.
func (w *Watchman) Operations() []OperationStats {
	var list []OperationStats
	for o := range w.Handles() {
		if st := o.Stats(); st.Calls > 0 {
			list = append(list, st)
		}
	}
	slices.SortFunc(list, func(a, b OperationStats) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}

// Stats returns the operation's figures.
func (o *Operation) Stats() OperationStats {
	if o == nil {
		return OperationStats{}
	}
	var d Distribution
	o.read(&d)
	st := OperationStats{Kind: o.kind, Name: o.name, Figures: d.Figures()}
	e := o.edges.Load()
	for caller, r := range e.local {
		st.Callers = append(st.Callers, EdgeStats{o.w.service, caller.name, r.figures()})
	}
	for caller, r := range e.remote {
		st.Callers = append(st.Callers, EdgeStats{caller, "", r.figures()})
	}
	for lane, r := range e.lane {
		st.Lanes = append(st.Lanes, LaneStats{lane, r.figures()})
	}
	slices.SortFunc(st.Callers, func(a, b EdgeStats) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(st.Lanes, func(a, b LaneStats) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Lane, b.Lane))
	})
	return st
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
