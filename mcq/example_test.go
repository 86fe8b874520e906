package mcq_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// A durable queue in a directory: Put returns when the disk has the messages.
func Example() {
	dir, _ := os.MkdirTemp("", "mcq")
	defer os.RemoveAll(dir)
	broker, _ := mcq.Open(dir, nil)
	defer broker.Close()
	q, _ := broker.Queue("statuses")
	err := q.Put(context.Background(), mcq.Message{Body: []byte("happy new year")})
	m, _ := q.Take(context.Background())
	fmt.Println(string(m.Body), err)
	// Output: happy new year <nil>
}

// Messages on a lease stay in the queue until they are acknowledged.
func ExampleQueue_Lease() {
	ctx := context.Background()
	dir, _ := os.MkdirTemp("", "mcq")
	defer os.RemoveAll(dir)
	broker, err := mcq.Open(dir, nil)
	if err != nil {
		panic(err)
	}
	defer broker.Close()
	q, err := broker.Queue("mail")
	if err != nil {
		panic(err)
	}
	if err := q.Put(ctx, mcq.Message{Body: []byte("a")}, mcq.Message{Body: []byte("b")}); err != nil {
		panic(err)
	}
	msgs, err := q.Lease(ctx, 10, mcq.LeaseOptions{Duration: time.Minute, Wait: time.Second})
	if err != nil {
		panic(err)
	}
	err = errors.Join(q.Ack(ctx, msgs[0].ID), q.Nack(ctx, msgs[1].ID))
	again, _ := q.Lease(ctx, 10, mcq.LeaseOptions{})
	fmt.Println(len(msgs), err, string(again[0].Body), again[0].Attempts)
	// Output: 2 <nil> b 2
}

// Consume is the queue processor: it reads in batches, and what the function
// did not fail for is acknowledged.
func ExampleConsume() {
	dir, _ := os.MkdirTemp("", "mcq")
	defer os.RemoveAll(dir)
	broker, err := mcq.Open(dir, nil)
	if err != nil {
		panic(err)
	}
	defer broker.Close()
	q, err := broker.Queue("statuses")
	if err != nil {
		panic(err)
	}
	if err := q.Put(context.Background(), make([]mcq.Message, 1000)...); err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	written := 0
	err = mcq.Consume(ctx, q, func(_ context.Context, batch []mcq.Message) error {
		written += len(batch) // one transaction
		if written == 1000 {
			stop()
		}
		return nil
	}, &mcq.ConsumeOptions{Batch: 100})
	fmt.Println(written, err, q.Stats().Backlog())
	// Output: 1000 <nil> 0
}

// A Server makes the queues available to every memcached client; a Client has
// the methods of a Queue.
func ExampleServer() {
	ctx := context.Background()
	dir, _ := os.MkdirTemp("", "mcq")
	defer os.RemoveAll(dir)
	broker, err := mcq.Open(dir, nil)
	if err != nil {
		panic(err)
	}
	defer broker.Close()
	server, err := mcq.NewServer(broker, nil)
	if err != nil {
		panic(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go server.Serve(ln)
	defer server.Shutdown(ctx)

	client, err := mcq.Dial(ln.Addr().String(), nil)
	if err != nil {
		panic(err)
	}
	defer client.Close()
	q := client.Queue("statuses")
	if err := q.Put(ctx, mcq.Message{Body: []byte("hello")}); err != nil {
		panic(err)
	}
	m, err := q.Take(ctx)
	fmt.Println(string(m.Body), err)
	// Output: hello <nil>
}
