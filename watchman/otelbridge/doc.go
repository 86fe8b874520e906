// Package otelbridge lets an application that uses the OpenTelemetry API share
// one trace with watchman, in both directions:
//
//	provider, err := otelbridge.New(w)
//	...
//	otel.SetTracerProvider(provider)
//
// Spans begun through OpenTelemetry are watchman's: they count in the figures,
// are kept by its rules, and are children of the framework's span in the
// context. Spans begun by the framework are OpenTelemetry's current span, so
// that trace.SpanFromContext finds them and OpenTelemetry's propagators write
// their ids. A parent that an OpenTelemetry propagator has read is continued.
//
// [Propagator] reads B3 besides, and carries watchman's baggage: a lane that the
// caller named reaches whom the application calls.
//
// [Provider.Producer] hands watchman's figures to an OpenTelemetry metric reader.
//
// # What does not carry over
//
// Attribute values become text. Events become phases, without attributes.
// Span names are operations: a name made from input ends up in the operation
// called "(other)" with the 4096th. Sampling is watchman's.
package otelbridge
