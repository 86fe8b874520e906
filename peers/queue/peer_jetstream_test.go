package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// startJetStream starts a NATS server whose streams are fsynced with every
// message, with one work queue, not replicated.
func startJetStream(t testing.TB) *server {
	pid, url := startChild(t, "jetstream", t.TempDir())
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "Q", Subjects: []string{"q"}, Retention: jetstream.WorkQueuePolicy})
	if err == nil {
		_, err = js.CreateConsumer(t.Context(), "Q", jetstream.ConsumerConfig{
			Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxAckPending: -1,
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return &server{pid, func(t testing.TB, clients, size int, got func([]byte)) load {
		l := &jetStreamLoad{took: make([][]time.Duration, clients)}
		for i := range clients {
			c, err := dialJetStream(url, newBodies(i, size, got))
			if err != nil {
				l.close()
				t.Fatal(err)
			}
			l.clients = append(l.clients, c)
		}
		return l
	}}
}

func serveJetStream(args []string) (addr string, stop func() error, err error) {
	s, err := natsd.NewServer(&natsd.Options{
		Host: "127.0.0.1", Port: natsd.RANDOM_PORT, JetStream: true, StoreDir: args[0], SyncAlways: true, NoLog: true, NoSigs: true,
	})
	if err != nil {
		return "", nil, err
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		return "", nil, errors.New("the NATS server does not get ready")
	}
	return s.ClientURL(), func() error {
		s.Shutdown()
		s.WaitForShutdown()
		return nil
	}, nil
}

// jetStreamLoad is clients with NATS' own library, each on a goroutine of its
// own.
type jetStreamLoad struct {
	clients []*jetStreamClient
	took    [][]time.Duration // by client
}

func (l *jetStreamLoad) close() {
	for _, c := range l.clients {
		c.nc.Close()
	}
}

func (l *jetStreamLoad) run(op operation, total, pipeline int) ([]time.Duration, error) {
	errs := make([]error, len(l.clients))
	var wg sync.WaitGroup
	for i, c := range l.clients {
		wg.Go(func() {
			l.took[i] = l.took[i][:0]
			for left := share(total, i, len(l.clients)); left > 0 && errs[i] == nil; left -= min(pipeline, left) * op.counts {
				began := time.Now()
				errs[i] = c.do(op, min(pipeline, left))
				l.took[i] = append(l.took[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	return slices.Concat(l.took...), errors.Join(errs...)
}

type jetStreamClient struct {
	*bodies
	nc      *nats.Conn
	js      jetstream.JetStream
	work    jetstream.Consumer
	inbox   *nats.Subscription // where acknowledgements are confirmed
	replies string
}

func dialJetStream(url string, b *bodies) (*jetStreamClient, error) {
	nc, err := nats.Connect(url, nats.Timeout(patience))
	if err != nil {
		return nil, err
	}
	c := &jetStreamClient{bodies: b, nc: nc, replies: nc.NewRespInbox()}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if c.js, err = jetstream.New(nc); err == nil {
		if c.work, err = c.js.Consumer(ctx, "Q", "c"); err == nil {
			c.inbox, err = nc.SubscribeSync(c.replies)
		}
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *jetStreamClient) do(op operation, n int) error {
	switch op {
	case enqueue:
		return c.enqueue(n)
	case dequeue:
		return c.dequeue(n)
	case mixed:
		if err := c.enqueue(n); err != nil {
			return err
		}
		return c.dequeue(n)
	}
	return fmt.Errorf("JetStream has no %s", op.name)
}

func (c *jetStreamClient) enqueue(n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if n == 1 {
		_, err := c.js.Publish(ctx, "q", c.next())
		return err
	}
	futures := make([]jetstream.PubAckFuture, n)
	for i := range futures {
		var err error
		if futures[i], err = c.js.PublishAsync("q", slices.Clone(c.next())); err != nil {
			return err
		}
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (c *jetStreamClient) dequeue(n int) error {
	batch, err := c.work.Fetch(n, jetstream.FetchMaxWait(patience))
	if err != nil {
		return err
	}
	sent := 0
	for m := range batch.Messages() {
		if err := c.receive(m.Data()); err != nil {
			return err
		}
		// As DoubleAck, except that the next does not wait for this one.
		if err := c.nc.PublishRequest(m.Reply(), c.replies, []byte("+ACK")); err != nil {
			return err
		}
		sent++
	}
	if err := batch.Error(); err != nil {
		return err
	}
	if sent != n {
		return fmt.Errorf("fetched %d of %d messages", sent, n)
	}
	for range sent {
		if _, err := c.inbox.NextMsg(patience); err != nil {
			return err
		}
	}
	return nil
}
