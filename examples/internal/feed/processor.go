package feed

import (
	"context"
	"fmt"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/motan"
)

// batchSize is how many statuses the processor moves in one transaction.
const batchSize = 512

// storeService is the Motan service that answers reads from the database.
const storeService = "feed.Store"

// startProcessor runs the tier that owns the database: it moves statuses out
// of the queue in batches and answers the service tier's reads.
func startProcessor(cfg Config) (*tier, error) {
	t, err := newTier(RoleProcessor)
	if err != nil {
		return nil, err
	}
	db, err := openDatabase(cfg)
	if err != nil {
		return nil, t.abort(err)
	}
	t.onStop("database", func(context.Context) error { return db.Close() })

	srv, err := motan.NewServer(&motan.ServerOptions{Watchman: t.watch})
	if err != nil {
		return nil, t.abort(err)
	}
	handleStore(srv, db)
	if err := t.serveMotan(srv, cfg.Processor); err != nil {
		return nil, t.abort(err)
	}

	queue, err := mcq.Dial(cfg.Queue, &mcq.ClientOptions{Watchman: t.watch})
	if err != nil {
		return nil, t.abort(err)
	}
	t.onStop("queue client", func(context.Context) error { return queue.Close() })
	add := func(ctx context.Context, batch []mcq.Message) error { return addBatch(ctx, db, batch) }
	consume := func(ctx context.Context) error {
		return mcq.Consume(ctx, queue.Queue(queueName), add, &mcq.ConsumeOptions{
			Batch: batchSize, Lease: cfg.Lease, Concurrency: 2, Watchman: t.watch,
		})
	}
	t.run("queue processor", consume)
	return t, nil
}

// addBatch is the queue processor itself: one batch, one transaction.
func addBatch(ctx context.Context, db Database, batch []mcq.Message) error {
	statuses := make([]Status, len(batch))
	for i := range batch {
		if err := statuses[i].UnmarshalBinary(batch[i].Body); err != nil {
			return fmt.Errorf("message %d: %w", batch[i].ID, err)
		}
	}
	_, err := db.Add(ctx, statuses)
	return err
}

func handleStore(srv *motan.Server, db Database) {
	motan.Handle(srv, storeService, "show", func(ctx context.Context, q *showRequest) (*Status, error) {
		s, ok, err := db.Show(ctx, q.ID)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, &motan.Error{Code: codeNoSuchStatus, Type: motan.Business, Message: "no such status"}
		}
		return &s, nil
	})
	motan.Handle(srv, storeService, "timeline", func(ctx context.Context, q *timelineRequest) (*timelineReply, error) {
		list, err := db.Timeline(ctx, q.UID, q.MaxID, q.Count)
		return &timelineReply{Statuses: list}, err
	})
}
