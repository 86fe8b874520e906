// Package watchman is the floor every Heddle product stands on: tracing hooks,
// always-on rate, error and duration figures, and runtime switches. It needs
// the standard library only.
//
// # Nouns
//
// A [Watchman] watches one service. An [Operation] is the handle of one route,
// method or queue, made once. A [Span] is one piece of work under way; it is
// its own context. A [SpanContext] is the part of it that crosses a wire. A
// [SpanRecord] is a span that was kept. A [Switch] is a flag that operators
// turn while the service runs.
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
//	figures        every call counts, whatever is kept, by operation and by caller
//	sampled        a trace that a caller samples is kept; so is Options.Sample of those begun here
//	errors, slow   a local root that failed, has a failed span below it, or was slow keeps its
//	               trace's part in this process: 50 at once and 10 a second per operation
//	accounting     Begun = Kept + Dropped + Live, exactly
//	bounds         4096 operations, 256 callers each, 32 spans below a local root, 16 facts a
//	               span, Options.KeepTraces and KeepBytes in memory, 2048 spans a trace
//	nil            a nil Watchman, and every handle it gives, does nothing
//
// A local root is the first span of a trace in a process: one begun without a
// parent, or by StartRemote. When it ends, what became of the trace here is
// decided. A span that ends later joins its trace if that was kept.
//
// # Wire
//
// W3C Trace Context Level 2 (traceparent, tracestate) and W3C Baggage, read
// strictly; our member of tracestate is heddle=SERVICE. AppendBinary is the
// form for message headers.
//
// # Cost
//
// CPU time on two shared cores, go test -run '^$' -bench Trace ./watchman: a
// figure costs two clock readings and three atomic additions; a span costs one
// allocation; reading and writing a traceparent cost none. TestAllocations
// holds the allocations.
package watchman
