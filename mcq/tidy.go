package mcq

import "github.com/cockroachdb/pebble/v2"

// tidyEvery is after how many of the sweeper's rounds a full disk is tidied again.
const tidyEvery = 5

// tidy has whoever commits give back, as the disk is full, what consumed messages and
// the journal take there.
func (b *Broker) tidy() {
	if b.held.Load() > 0 || !b.tidying.CompareAndSwap(false, true) {
		return
	}
	o := takeOp(nil)
	o.tidy = true
	o.finish = func(o *op) {
		b.tidying.Store(false)
		o.release()
	}
	if b.submit(o) != nil {
		o.release()
	}
}

// writeTidied writes a group in which there is the removal of all that was consumed, and
// has the journal become smaller.
func (b *Broker) writeTidied(batch *pebble.Batch) error {
	everything, err := b.trimAll(batch)
	if err != nil {
		return err
	}
	b.journal.look()
	if !batch.Empty() || b.journal.flushed > b.journal.told.Load() { // else there is nothing to tell
		if err := b.write(batch); err != nil {
			return err
		}
	}
	shrunk, err := b.journal.shrink(b.consumed, everything)
	if shrunk {
		b.consumed = 0
	}
	return err
}

// trimAll puts into the batch the removal of what was consumed, and reports whether that
// is everything.
func (b *Broker) trimAll(batch *pebble.Batch) (everything bool, err error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	everything = true
	for _, q := range b.queues {
		if q.parent != nil || q.log.gone {
			continue
		}
		if err := q.log.trim(batch, true); err != nil {
			return false, err
		}
		everything = everything && q.log.trimmed == q.log.next
	}
	return everything, nil
}
