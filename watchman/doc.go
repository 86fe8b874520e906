// Package watchman is the floor every Heddle product stands on: tracing hooks,
// always-on rate, error and duration figures, and runtime switches. It needs
// the standard library only.
//
// # Nouns
//
// A [Watchman] watches one service. An [Operation] is the handle of one route,
// method or queue, made once. A [Span] is one piece of work under way; it is
// its own context. A [SpanContext] is the part of it that crosses a wire. A
// [SpanRecord] is a span that was kept. A [Switch] is a flag, a [Dial] a number
// that operators and control loops turn while the service runs.
//
// An application makes one Watchman and hands it to each product's Options; it
// writes no tracing code. Frameworks do this:
//
//	op := w.Operation(watchman.Server, "GET /cart") // at set-up
//	...
//	ctx, span := op.StartRemote(ctx, watchman.FromHeader(r.Header))
//	err := handle(ctx)
//	span.End(err)
//
// # Guarantees
//
//	figures        every call counts, whatever is kept, by operation, caller and lane
//	sampled        a trace that a caller samples is kept; so is Options.Sample of those begun
//	               here, or as many as the budget Options.TracesPerMinute allows
//	worth keeping  a local root that failed, has a failed span below it, was slow, belongs to a
//	               lane, or that somebody called Keep for, keeps its trace's part in this
//	               process: 50 at once and 10 a second per operation
//	recent         what is not kept stays in a ring of Options.RecentTraces, from which KeepTrace
//	               keeps it after the fact
//	errors         every error counts in its [ErrorGroup], whether its trace is kept or not
//	accounting     Begun = Kept + Ring + Dropped + Live, exactly
//	bounds         4096 operations, 256 callers and 16 lanes each, 64 spans below a local root,
//	               16 facts, 16 phases and 64 links a span, Options.KeepTraces and KeepBytes in
//	               memory, 512 spans a local root with late ones, 512 error groups, 4096 switches and dials
//	nil            a nil Watchman, and every handle it gives, does nothing
//
// A local root is the first span of a trace in a process: one begun without a
// parent, or by StartRemote or StartLinked. When it ends, what became of the
// trace here is decided. A span that ends later joins its trace if that was
// kept or is recent.
//
// # Switches and dials
//
// A product makes its switches and dials at set-up and asks them with On and
// Value where it works, or is told by OnChange and OnDial. Their names are
// PRODUCT.WHAT, or PRODUCT.WHICH.WHAT where there are several; while all is well
// a switch is off and a dial at its highest. What they keep from being done ends
// with an error that wraps ErrRejected, on the caller's side too. While a control
// loop, not a human, keeps something off, a product lets a few calls through, so
// that the loop sees when it is well again. Who changed what, when, why and until
// when is in Changes.
//
// # Across processes
//
// W3C Trace Context Level 2 (traceparent, tracestate) and W3C Baggage, read
// strictly; our member of tracestate is heddle=SERVICE. Requests without a
// traceparent may bring B3 in either form. AppendBinary is the form for message
// headers. A consumer continues a message's trace with StartRemote (parent
// mode) or begins one for a batch and links it with StartLinked.
//
// The baggage members heddle.lane=NAME and heddle.debug=1 travel with a request:
// the first has its calls counted apart, both have its trace kept everywhere.
// A callee that finds its part worth keeping says so with a bit in the reply
// (Span.Keeping), and its callers keep theirs: over HTTP in the header
// HeaderKeep, over Motan in the reply's attachments.
//
// # Figures
//
// [Watchman.Operations] sums up since the start; [Operation.Distribution] is a
// snapshot whose difference from an older one is what happened in between.
// Sub-packages build on it: control compares with objectives and acts, console
// shows it, flight remembers what the runtime did, otlp, zipkin and prom hand it
// on, otelbridge shares it.
//
// # Cost
//
// CPU time on two shared cores, go test -run '^$' -bench Trace ./watchman: a
// figure costs two clock readings and two atomic additions; a span costs one
// allocation; reading and writing a traceparent cost none. TestAllocations
// holds the allocations. On two shared cores of an Intel Xeon, garbage collection
// included, the fastest of four runs with -benchtime 0.2s:
//
//	BenchmarkTraceFigures                                66 ns   0 allocs
//	BenchmarkTraceSpan/recent                           175 ns   1
//	BenchmarkTraceSpan/kept                             196 ns   1
//	BenchmarkTraceFacts (a span with three)             202 ns   1
//	BenchmarkTraceRequest (one server, three client)    568 ns   4
//	BenchmarkTraceServer (all of an HTTP server's hook) 382 ns   2
//	BenchmarkTraceInbound (traceparent)                  47 ns   0
//	BenchmarkTraceOutbound (traceparent)                 28 ns   0
//
// Compare ratios, not machines: two readings of the clock, BenchmarkTraceClock,
// take 57 ns there, a third of a span. Package trace of peers/ has other tracers
// beside it.
//
// # Reading order
//
// watchman.go, operation.go, span.go, extra.go, local.go, part.go, ring.go, store.go; sampling.go;
// red.go, distribution.go; fault.go; spancontext.go, hex.go and the forms behind them;
// switch.go.
package watchman
