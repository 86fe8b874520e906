package mcq_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

// A receipt of a lease that has ended does nothing to the one after it, nor
// after the store was closed and opened; an id does.
func TestReceipt(t *testing.T) {
	fs := vfs.NewMem()
	open := func() (*mcq.Broker, *mcq.Queue) {
		b, err := mcq.Open("store", mcq.WithFS(nil, fs))
		if err != nil {
			t.Fatal(err)
		}
		return b, queue(t, b, "q")
	}
	b, q := open()
	put(t, q, "x")
	old := lease(t, q, 1, mcq.LeaseOptions{})[0]
	if old.Receipt == old.ID || old.Receipt&(1<<48-1) != old.ID {
		t.Fatalf("receipt %x of message %x", old.Receipt, old.ID)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b, q = open()
	defer b.Close()
	now := lease(t, q, 1, mcq.LeaseOptions{})[0]
	for what, err := range map[string]error{
		"Ack": q.Ack(t.Context(), old.Receipt), "Nack": q.Nack(t.Context(), old.Receipt),
		"Extend": q.Extend(t.Context(), old.Receipt, time.Minute), "Reject": q.Reject(t.Context(), "no", old.Receipt),
	} {
		if !errors.Is(err, mcq.ErrNotLeased) {
			t.Errorf("%s with a receipt of before: %v", what, err)
		}
	}
	if err := q.Nack(t.Context(), now.Receipt); err != nil {
		t.Fatal(err)
	}
	// Given back, and nobody has it yet: who had it may still have it done.
	if err := q.Ack(t.Context(), now.Receipt); err != nil {
		t.Fatal(err)
	}

	put(t, q, "y")
	id := lease(t, q, 1, mcq.LeaseOptions{})[0].ID
	if err := q.Ack(t.Context(), id); err != nil {
		t.Errorf("Ack by id: %v", err)
	}
}

// A reader that asks for receipts gets them as cas values and gives them where
// ids go.
func TestReceiptWire(t *testing.T) {
	b := memBroker(t, nil)
	addr := serve(t, b)
	q := dial(t, addr).Queue("q")
	put(t, q, "1", "2", "3")
	old := lease(t, q, 3, mcq.LeaseOptions{})
	for i, m := range old {
		if m.ID != uint64(i+1) || m.Receipt&(1<<48-1) != m.ID || m.Receipt == m.ID {
			t.Fatalf("message %d has id %x and receipt %x", i, m.ID, m.Receipt)
		}
	}
	if err := q.Nack(t.Context(), old[0].Receipt, old[1].Receipt); err != nil {
		t.Fatal(err)
	}
	now := lease(t, q, 1, mcq.LeaseOptions{})[0]
	w := connect(t, addr)
	say := func(request, reply string) {
		t.Helper()
		fmt.Fprint(w, request)
		w.expect(reply)
	}
	say("gets q/lease=60/receipt\r\n", fmt.Sprintf("VALUE q/lease=60/receipt 0 1 %d\r\n2\r\nEND\r\n", now.Receipt+1))
	say(fmt.Sprintf("touch q/id=%d 60\r\n", old[0].Receipt), "NOT_FOUND\r\n")
	say(fmt.Sprintf("touch q/id=%d 60\r\n", now.Receipt), "TOUCHED\r\n")
	say(fmt.Sprintf("delete q/nack=%d\r\n", old[0].Receipt), "NOT_FOUND\r\n")
	say(fmt.Sprintf("delete q/ack=%d-%d\r\n", old[0].Receipt, old[1].Receipt), "NOT_FOUND\r\n")
	say(fmt.Sprintf("ack q %d\r\n", old[1].Receipt), "NOT_FOUND\r\n")
	say(fmt.Sprintf("delete q/ack=%d-%d\r\n", now.Receipt, now.Receipt+1), "DELETED\r\n")
	say("delete q/ack=3\r\n", "DELETED\r\n")
}
