// Package control compares what watchman measures with objectives and acts on
// it through switches and dials.
//
// # Nouns
//
// An [Objective] says what share of an operation's calls has to be good. Its
// [Verdict] compares that with what happened, over several windows at once. A
// [Policy] turns a switch or a dial while an objective is missed. A [Loop]
// evaluates all of them at an interval and writes a [Decision] for everything
// it does, or would have done. A [Limiter] is the reflex below it: it admits as
// much concurrent work as a dependency bears.
//
//	loop, err := control.New(w, objectives, policies, nil)
//	...
//	go loop.Run(ctx)
//
// # What keeps it calm
//
//	observe only    a policy acts only with Enforce; without, it logs what it would have done
//	volume          nothing is decided on fewer calls than Objective.MinCalls in a window,
//	                nor on a bad ratio whose lower confidence bound is below Policy.Enter
//	dead band       Policy.Enter and Policy.Leave differ
//	one change      at most one a window and policy
//	hold            what was engaged stays for Policy.Hold, longer each time it comes back, ±20 %
//	expiry          what a policy sets runs out after Policy.TTL unless it is renewed
//	one owner       a human's value is never touched, nor another policy's
//	intrinsic       if the bad ratio does not fall with the load, a dial goes back and
//	                Policy.Fallback is turned instead
//	effect          Policy.Effect names the objective that has to get better; if it does not,
//	                the change is taken back
//	kill switch     the switch control.enabled, on by default
//	wrong names     a policy whose setting nobody reads is in Policies, with what it turns in vain
//
// Rejected calls (watchman.ErrRejected) are left out of an objective unless it
// says CountRejected: a loop must not take its own cure for the disease.
//
// # Burn rates
//
// The burn rate is the bad share divided by the share that may be bad. A
// verdict is breached if it is 14.4 over an hour and over five minutes, or 6
// over six hours and over 30 minutes; it is a warning at 1 over three days and
// over six hours: the pairs of Google's SRE workbook, chapter 5. Save and Load
// carry the windows over a restart.
package control
