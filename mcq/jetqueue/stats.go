package jetqueue

import "sync/atomic"

type counters struct {
	put, full, retries, handedOut, acked, givenBack, expired, duplicates, buried, trimmed atomic.Uint64
}

// Stats are a Cluster's counters, of this process alone; all but Queues and
// Leased only grow. What the queues hold is QueueStats' to tell.
type Stats struct {
	Queues     int    // queues and subscribers in use by this process
	Leased     int    // messages that this process has leased
	Put        uint64 // messages stored
	Full       uint64 // messages refused because a queue was full
	Retries    uint64 // requests sent again because no answer came
	HandedOut  uint64 // messages handed out
	Acked      uint64 // messages acknowledged or taken
	GivenBack  uint64 // messages given back by Nack
	Expired    uint64 // leases that ran out
	Buried     uint64 // messages moved to the dead letters, or dropped for want of them
	Duplicates uint64 // messages put again with the same Key, and not stored
	Trimmed    uint64 // messages removed from the servers because everybody has acknowledged them
	Reconnects uint64 // times that the connection was lost and made again
}

// Stats returns a snapshot.
func (c *Cluster) Stats() Stats {
	s := Stats{
		Put: c.stats.put.Load(), Full: c.stats.full.Load(), Retries: c.stats.retries.Load(), HandedOut: c.stats.handedOut.Load(),
		Acked: c.stats.acked.Load(), GivenBack: c.stats.givenBack.Load(), Expired: c.stats.expired.Load(), Buried: c.stats.buried.Load(), Duplicates: c.stats.duplicates.Load(),
		Trimmed: c.stats.trimmed.Load(), Reconnects: c.nc.Stats().Reconnects,
	}
	for _, q := range c.all() {
		q.mu.Lock()
		s.Queues++
		s.Leased += len(q.leases)
		q.mu.Unlock()
	}
	return s
}
