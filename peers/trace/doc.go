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
// and background goroutines included, the fastest of three runs (-benchtime 0.2s
// -count 3):
//
//	                            Span  Facts  Request  Server
//	watchman sampled             211    234      624     229
//	watchman unsampled           213    231      619     264
//	otel sampled                1372   1919     4188    5658 (otelhttp)
//	otel sampled, histogram     1911   2327     5601
//	otel unsampled               311    652     1110    3054 (otelhttp)
//	otel unsampled, histogram    536    943     2034
//	otel noop                    118    288      376    2597 (otelhttp)
//	zipkin-go sampled            446    589     1596
//	zipkin-go unsampled          437    342     1567
//	dd-trace-go sampled         4782   5796    15164
//
// What watchman takes, as a share of the OpenTelemetry SDK:
//
//	                            Span  Facts  Request  Server
//	sampled, same work          0.11   0.10     0.11    0.04
//	sampled, spans only         0.15   0.12     0.15
//	unsampled, same work        0.40   0.25     0.30    0.09
//	unsampled, spans only       0.68   0.35     0.56
//
// In another run the shares with spans only were 0.14, 0.13 and 0.14 sampled, 0.69,
// 0.39 and 0.56 unsampled, and 0.58, 0.33 and 0.52 without the ring of recent
// traces ("no ring", Options.RecentTraces -1).
//
// "Same work" is with the histogram, and otelhttp in the last column, which
// measures too. A span that is not sampled is cheap for the SDK because it is
// nothing: it reads no clock. watchman's has two clock readings, its figures and
// a place in the ring.
package trace
