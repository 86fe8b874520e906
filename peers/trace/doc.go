// Package trace measures watchman beside other tracers, all doing the same work
// in one process:
//
//	go test -run '^$' -bench Trace ./trace
//
// Span is one span without facts, Facts one with three, Request one server span with three client
// spans below it, Server a whole HTTP server's hook around an empty handler.
// "sampled" records everything and throws the result away behind the exporter;
// "unsampled" is what production mostly does. watchman's "unsampled" still counts
// every call and keeps the spans of recent traces, which the others do not.
package trace
