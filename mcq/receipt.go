package mcq

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// A receipt is a message's number in the low bits and, above them, which time
// the store was opened and which time the message was handed out. So a number
// without anything above is whoever's lease of that message, and a receipt is
// one lease only.
const (
	receiptShift = 48
	openBits     = 7 // the topmost bit stays clear: some languages have no unsigned numbers
	attemptBits  = 8
)

// receiptID is the message's number in a receipt, or in what is one already.
func receiptID(receipt uint64) uint64 { return receipt & (1<<receiptShift - 1) }

// receipt is that of the lease of message id that is its attempts-th.
func (q *Queue) receipt(id uint64, attempts int) uint64 {
	return q.b.opens<<(receiptShift+attemptBits) | uint64(attempts)&(1<<attemptBits-1)<<receiptShift | id
}

// holds reports whether receipt, which may be a mere number, is for lease l of
// its message.
func (q *Queue) holds(receipt uint64, l lease) bool {
	id := receiptID(receipt)
	return receipt == id || receipt == q.receipt(id, l.attempts)
}

// countOpen counts that the store is opened once more, durably: receipts of
// leases that ended with the process are not to be taken for new ones.
func (b *Broker) countOpen() error {
	opens, err := b.loadOpens()
	if err != nil {
		return err
	}
	opens = opens%(1<<openBits-1) + 1
	b.opens = opens
	batch := b.db.NewBatch()
	defer batch.Close()
	if err := errors.Join(
		batch.Set([]byte{prefixOpens}, binary.AppendUvarint(nil, opens), nil), batch.Delete([]byte{prefixClosed}, nil),
	); err != nil {
		return err
	}
	return errors.Join(b.write(batch), b.journal.syncNow())
}

func (b *Broker) loadOpens() (uint64, error) {
	v, closer, err := b.reader.Get([]byte{prefixOpens})
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	opens, n := binary.Uvarint(v)
	if n != len(v) || opens == 0 || opens >= 1<<openBits {
		return 0, fmt.Errorf("count of openings %x", v)
	}
	return opens, nil
}
