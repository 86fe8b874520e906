package jetqueue_test

import (
	"context"
	"fmt"
	"os"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/jetqueue"
)

// A queue on one server, which is enough to try things out.
func Example() {
	dir, err := os.MkdirTemp("", "jetqueue")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	server, err := natsd.NewServer(&natsd.Options{Host: "127.0.0.1", Port: natsd.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	server.Start()
	defer server.WaitForShutdown()
	defer server.Shutdown()
	if !server.ReadyForConnections(patience) {
		fmt.Println("the server does not get ready")
		return
	}

	nc, err := nats.Connect(server.ClientURL(), nats.MaxReconnects(-1))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cluster, err := jetqueue.Open(ctx, nc, &jetqueue.Options{Replicas: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()
	q, err := cluster.Queue(ctx, "statuses")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := q.Put(ctx, mcq.Message{Body: []byte("hello")}, mcq.Message{Body: []byte("world")}); err != nil {
		fmt.Println(err)
		return
	}
	err = mcq.Consume(ctx, q, func(_ context.Context, batch []mcq.Message) error {
		for _, m := range batch {
			fmt.Println(m.ID, string(m.Body))
			if m.ID == 2 {
				cancel() // the batch is still acknowledged
			}
		}
		return nil
	}, nil)
	fmt.Println(err)
	// Output:
	// 1 hello
	// 2 world
	// <nil>
}
