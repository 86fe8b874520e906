package mcq

import (
	"context"
	"sync"
	"time"
)

// Backend returns the queues on the server as a Backend, with which another Server can
// stand in front of it. They are but names: a queue that was dropped is made anew by
// what is done to it, where a Broker's would fail with ErrDropped. One that it has seen
// it takes to be there until it drops it.
func (c *Client) Backend() Backend {
	return &remoteBackend{Client: c, room: make(chan struct{}, maxPending), seen: make(map[string]struct{})}
}

// remoteBackend is a Client as a Backend.
type remoteBackend struct {
	*Client
	room chan struct{} // holds one for each Enqueue under way

	mu   sync.Mutex
	seen map[string]struct{} // queues that are there, at most maxSeenQueues
}

const maxSeenQueues = 10_000

func (b *remoteBackend) FindQueue(ctx context.Context, name string, create bool) (BackendQueue, error) {
	if err := CheckName(name); err != nil {
		if !create {
			err = nil // there is none of that name
		}
		return nil, err
	}
	q := remoteHandle{b.Queue(name), b}
	b.mu.Lock()
	_, seen := b.seen[name]
	b.mu.Unlock()
	if seen {
		return q, nil
	}
	if create {
		// To hand out no message for no time makes the queue.
		err := b.command(ctx, 1, []byte("monitor "+name+" 0 0\r\n"), func(line []byte) error {
			if string(line)+"\r\n" != replyEnd {
				return errorOf(line)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	} else if all, err := b.statsOf(ctx, []string{name}); err != nil || len(all) == 0 {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.seen) >= maxSeenQueues {
		clear(b.seen)
	}
	b.seen[name] = struct{}{}
	return q, nil
}

func (b *remoteBackend) DropQueue(ctx context.Context, name string) (bool, error) {
	b.mu.Lock()
	clear(b.seen) // its subscribers go too
	b.mu.Unlock()
	if CheckName(name) != nil {
		return false, nil
	}
	return b.Drop(ctx, name)
}

func (b *remoteBackend) MaxMessage() int { return b.opt.MaxMessage }

// remoteHandle is a RemoteQueue as a BackendQueue.
type remoteHandle struct {
	*RemoteQueue
	b *remoteBackend
}

func (q remoteHandle) Enqueue(m Message, done func(Message, error)) {
	if err := q.check(&m); err != nil {
		done(m, err)
		return
	}
	conn, err := q.c.conn(context.Background()) // which has a timeout of its own
	if err != nil {
		done(m, err)
		return
	}
	q.b.room <- struct{}{}
	timer := time.AfterFunc(q.c.opt.Timeout, func() { conn.late(q.c.opt.Timeout) })
	x := &exchange{replies: 1}
	x.line = func(line []byte) error {
		s, err := parseStored(line)
		s.into(&m)
		return err
	}
	x.then = func() {
		timer.Stop()
		<-q.b.room
		done(m, x.err)
	}
	if err := conn.start(x, func(b []byte) []byte { return appendSet(b, q.name, &m) }); err != nil {
		<-conn.gone // those before are told first
		x.err = lost(err)
		x.then()
	}
}

func (q remoteHandle) Remove(ctx context.Context, limit int, wait time.Duration) ([]Message, error) {
	return q.await(ctx, limit, wait, "")
}
