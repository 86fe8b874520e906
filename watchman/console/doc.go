// Package console is a window on a Watchman: an http.Handler with pages for
// people, embedded and self-contained, that works offline and without
// JavaScript.
//
//	c, err := console.New(w, &console.Options{Loop: loop})
//	...
//	defer c.Close()
//	http.Handle("/console/", http.StripPrefix("/console", c))
//
// # Pages
//
//	overview     objectives and their budgets, operations with rates, errors and percentiles
//	topology     who calls whom, with the figures on the edges
//	operation    rates, errors and percentiles of half an hour, and a heat map of durations
//	traces       kept traces by operation, reason, duration and text; each as a waterfall with
//	             phases, links and its critical path, as JSON or Zipkin JSON to download
//	errors       kinds of errors with counts, first and last seen, release, traces
//	decisions    what the control loop did or would have done, why, and what became of it
//	switches     switches and dials, and who changed them; changing takes a reason and the name
//	sampling     ratios in force and the budget; keeping a recent trace
//	runtime      goroutines, memory, profiles, snapshots of package flight
//	self         what watchman itself holds, drops and costs
//
// Pages that change are kept up to date: the browser gets their content as
// server-sent events, 16 at once, and beyond that, or where a proxy does not let
// them through, fetches the page every three seconds; a page that is hidden, or
// in which somebody has opened or marked something, is left alone.
//
// # Safety
//
// Without Options.Auth it answers only clients on the loopback interface that
// address it as a loopback host, so that neither the network nor a web page
// that rebinds a name gets in. Changes are POSTs that need a token from the
// form and pass net/http.CrossOriginProtection, a reason, and the name typed
// again. The content security policy allows the console's own files only; all
// names are escaped.
//
// # Cost
//
// One goroutine looks at the figures every Options.Interval and keeps half an
// hour of the 256 busiest operations: 23 KB each. Pages are made when they are
// asked for, or watched, every two seconds.
//
// A program that does nothing but 20,000 requests a second, each a server span
// and three client spans, with a control loop and the console open, takes 3.0 to
// 3.7 % of one processor, under 2 % of the two of the machine (an Intel Xeon), and
// 13 MiB from the system, the program and its runtime included:
//
//	go test -run '^$' -bench Open -benchtime 10s ./watchman/console
package console
