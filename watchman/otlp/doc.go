// Package otlp sends what a Watchman keeps to anything that speaks OTLP over
// HTTP: kept traces, figures as exponential histograms with exemplars, and log
// records of groups of errors and of a control loop's decisions.
//
//	e, err := otlp.New(w, &otlp.Options{Endpoint: "http://collector:4318"})
//	...
//	go e.Run(ctx) // sends until ctx is done, then once more
//
// Bodies are protobuf, or JSON with Options.JSON, with gzip. Replies 429, 502,
// 503 and 504 and network errors are tried again, after Retry-After if the
// receiver says so. The receiver's trouble is never the program's: spans wait
// in the Watchman's own bounded store, and those that had to go before they
// could be sent are counted in Stats. The messages are those of
// go.opentelemetry.io/proto/otlp; gRPC is not linked. Attributes have the names
// of OpenTelemetry's semantic conventions, of the version in Options.Conventions.
//
// A decision is a record with the event name heddle.decision, its reason as the
// body, and what it was decided on as attributes named heddle.*; its outcome is
// one more, heddle.decision.outcome.
//
// An operation's buckets are linear within an octave; in the exponential
// histograms (scale 3) every call stands in the bucket that holds the middle of
// its own, which is off by one bucket, 9 %, at most.
package otlp
