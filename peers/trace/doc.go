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
// On two cores of an AMD EPYC, CPU nanoseconds an operation, collection and
// background goroutines included (-benchtime 0.4s and 0.5s):
//
//	                            Span  Facts  Request  Server
//	watchman sampled             221    328      683     246
//	watchman unsampled           235    329      692     312
//	otel sampled                1110   1572     3663    6971 (otelhttp)
//	otel sampled, histogram     1564   2017     4991
//	otel unsampled               271    569     1157    3889 (otelhttp)
//	otel unsampled, histogram    508    777     2048
//	otel noop                     99    214      403    3320 (otelhttp)
//	zipkin-go sampled            441    516     1486
//	zipkin-go unsampled          442    230     1336
//	dd-trace-go sampled         4994   5943    16269
package trace
