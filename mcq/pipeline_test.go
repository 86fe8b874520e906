package mcq_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// Gets and acknowledgements in a pipeline share fsyncs as sets do, are answered
// in order, and see what their own connection did before.
func TestPipelinedTakes(t *testing.T) {
	b := openBroker(t, t.TempDir(), nil)
	q := queue(t, b, "q")
	const n = 600
	msgs := make([]mcq.Message, 2*n)
	for i := range msgs {
		msgs[i].Body = fmt.Appendf(nil, "%06d", i+1)
	}
	if err := q.Put(t.Context(), msgs...); err != nil {
		t.Fatal(err)
	}
	before := b.Stats().Groups
	w := connect(t, serve(t, b))
	var wg sync.WaitGroup
	wg.Go(func() {
		var req bytes.Buffer
		for i := range n {
			fmt.Fprintf(&req, "get q\r\ngets q/lease=30\r\ndelete q/ack=%d\r\ndelete q/ack=1\r\nset r 0 0 1\r\nx\r\nget r\r\nget r\r\n", 2*i+2)
		}
		w.send(req.String())
	})
	for i := range n {
		w.expect(fmt.Sprintf("VALUE q 0 6\r\n%06d\r\nEND\r\nVALUE q/lease=30 0 6 %d\r\n%06d\r\nEND\r\nDELETED\r\nNOT_FOUND\r\nSTORED\r\nVALUE r 0 1\r\nx\r\nEND\r\nEND\r\n", 2*i+1, 2*i+2, 2*i+2))
	}
	wg.Wait()
	if s := q.Stats(); s.Done != 2*n || s.Leased != 0 {
		t.Errorf("stats %+v", s)
	}
	// Each get of r must wait for the set before it; nothing else must.
	if groups := b.Stats().Groups - before; groups > 3*n {
		t.Errorf("%d commands took %d groups", 7*n, groups)
	}
	w.send(strings.Repeat("set p 0 0 1\r\nx\r\n", n) + "version\r\n")
	w.expect(strings.Repeat("STORED\r\n", n) + "VERSION 1.0.0\r\n")
	before = b.Stats().Groups
	w.send(strings.Repeat("get p\r\n", n) + "version\r\n")
	w.expect(strings.Repeat("VALUE p 0 1\r\nx\r\nEND\r\n", n) + "VERSION 1.0.0\r\n")
	if groups := b.Stats().Groups - before; groups > n/2 {
		t.Errorf("%d gets took %d groups", n, groups)
	}
}

// A client that asks for much and reads nothing is held up before its replies
// take much memory.
func TestPipelineOfTheDeaf(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never, Memory: 1 << 20})
	q := queue(t, b, "q")
	for range 64 {
		if err := q.Put(t.Context(), mcq.Message{Body: make([]byte, 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	w := connect(t, serve(t, b))
	w.send(strings.Repeat("get q\r\n", 64))
	waitFor(t, "the first replies", func() bool { return q.Stats().Done > 4 })
	for range 50 { // it would be done with all by then
		if done := q.Stats().Done; done > 48 {
			t.Fatalf("%d MiB are on their way to a client that reads nothing", done)
		}
		time.Sleep(time.Millisecond)
	}
	for range 64 {
		w.SetDeadline(time.Now().Add(patience)) // the race detector takes its time over a mebibyte
		w.expect("VALUE q 0 1048576\r\n")
		if _, err := w.in.Discard(1<<20 + 2); err != nil {
			t.Fatal(err)
		}
		w.expect("END\r\n")
	}
}
