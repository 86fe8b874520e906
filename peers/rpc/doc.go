// Package rpc holds package motan against other people's RPC: live calls in both
// directions with motan-go, and one benchmark that drives all of them alike.
//
//	go test ./rpc
//	go test -run '^$' -bench RPC ./rpc
//
// The tests need nothing but Go. They are not run with the race detector:
// motan-go has data races of its own (its client's and its server's, under
// concurrent calls), which it reports.
package rpc
