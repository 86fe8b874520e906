package main

import (
	"fmt"
	"io"

	"github.com/heddle-go/heddle/mcq"
)

// check reads a store and says what is in it.
func check(dir string, out io.Writer) error {
	r, err := mcq.Check(dir, nil)
	if err != nil {
		return err
	}
	backlog := uint64(0)
	for _, q := range r.Queues {
		fmt.Fprintf(out, "queue %s: put %d, done %d, backlog %d\n", q.Name, q.Put, q.Done, q.Backlog())
		backlog += q.Backlog()
	}
	fmt.Fprintf(out, "%d queues, backlog %d\n", len(r.Queues), backlog)
	// What a queue and its subscribers wait for is stored once.
	fmt.Fprintf(out, "%d messages of %d bytes stored, %d of them consumed and not removed yet\n", r.Messages, r.Bytes, r.Consumed)
	for _, d := range r.Damage {
		fmt.Fprintln(out, "damage:", d)
	}
	if len(r.Damage) > 0 {
		return fmt.Errorf("%s is damaged", dir)
	}
	return nil
}
