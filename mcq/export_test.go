package mcq

import "github.com/cockroachdb/pebble/v2/vfs"

// WithFS returns a copy of o whose store lies in fs.
func WithFS(o *Options, fs vfs.FS) *Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.fs = fs
	return &out
}

// ExpiriesHeld is how many leases q remembers to look at.
func ExpiriesHeld(q *Queue) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.expiries.len()
}

// AsBackend is b as a Backend.
func AsBackend(b *Broker) Backend { return localBackend{b} }
