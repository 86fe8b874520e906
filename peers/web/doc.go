// Package web puts webv4 beside other Go web frameworks: the same calls through
// each one's usual way of binding, checking and answering, the whole chain of
// middleware that each one's users run, and what is left of a service when far
// more is asked of it than it can do.
//
//	cd peers && go test -run '^$' -bench Web ./web
//	cd peers && go test -run '^$' -bench Overload ./web
//
// In memory, requests and writers are used again, so that what is measured is the
// framework. Over loopback each server is a process of its own, and
// server-cpu-ns/op is that process's CPU time only.
package web
