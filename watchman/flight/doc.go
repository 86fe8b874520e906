// Package flight keeps what the Go runtime did just before something went
// wrong: snapshots of its flight recorder, bounded in number, size and rate.
//
//	rec, err := flight.New(nil)
//	...
//	err = rec.Start() // from now on the runtime remembers the last seconds
//	defer rec.Close()
//	loop, err := control.New(w, objectives, policies, &control.Options{
//		OnBreach: func(v control.Verdict) { rec.Trigger(v.Objective + ": " + v.Reason) },
//	})
//
// Package console lists the snapshots, and starts and stops the recorder. A
// snapshot is opened with go tool trace.
//
// # Cost
//
// Nothing until Start. A running recorder writes an event for every switch of a
// goroutine into buffers of Options.MaxBytes; a program that mostly computes
// does not notice, one that mostly switches pays a few per cent:
//
//	go test -run '^$' -bench Recording ./watchman/flight
package flight
