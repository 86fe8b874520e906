// Package trace measures watchman beside other tracers, all doing the same work
// in one process:
//
//	go test -run '^$' -bench Trace ./trace
//
// Span is one span without facts, Facts one with three, Request one server span with three client
// spans below it, Server a whole HTTP server's hook around an empty handler.
// "sampled" records everything and throws the result away behind the exporter;
// "unsampled" is what production mostly does. watchman's "unsampled" still counts
// every call and keeps the spans of recent traces, which the others do not; the
// rows with a histogram give the OpenTelemetry SDK what it takes to know as much.
//
// On two shared cores of an Intel Xeon, CPU nanoseconds an operation, collection
// and background goroutines included, the faster of two runs (-benchtime 0.2s):
//
//	                            Span  Facts  Request  Server
//	watchman sampled             343    456     1029     370
//	watchman unsampled           347    494      938     428
//	otel sampled                1718   2216     4627    8160 (otelhttp)
//	otel sampled, histogram     2017   2638     8224
//	otel unsampled               435   1099     1604    5687 (otelhttp)
//	otel unsampled, histogram    875   1146     3023
//	otel noop                    163    375      601    4058 (otelhttp)
//	zipkin-go sampled            832    804     2620
//	zipkin-go unsampled          656    580     2488
//	dd-trace-go sampled         5940   7026    17404
//
// What watchman takes, as a share of the OpenTelemetry SDK:
//
//	                            Span  Facts  Request  Server
//	sampled, same work          0.17   0.17     0.13    0.05
//	sampled, spans only         0.20   0.21     0.22
//	unsampled, same work        0.40   0.43     0.31    0.08
//	unsampled, spans only       0.80   0.45     0.58
//
// "Same work" is with the histogram, and otelhttp in the last column, which
// measures too. A span that is not sampled is cheap for the SDK because it is
// nothing: it reads no clock. watchman's has two clock readings, its figures and
// a place in the ring.
package trace
