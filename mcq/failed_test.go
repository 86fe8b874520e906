package mcq_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/heddle-go/heddle/mcq"
)

// failing opens a store whose log cannot be written once fail has been called.
func failing(t *testing.T) (b *mcq.Broker, fail func()) {
	t.Helper()
	var armed atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			if armed.Load() && strings.HasSuffix(op.Path, ".log") {
				return errorfs.ErrInjected
			}
		}
		return nil
	}))
	b, err := mcq.Open("store", mcq.WithFS(&mcq.Options{Logger: silent}, fs))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, func() { armed.Store(true) }
}

// When the store has failed everything says so, and who waits does not wait on.
func TestFailedStoreIsTold(t *testing.T) {
	b, fail := failing(t)
	q := queue(t, b, "q")
	put(t, q, "1", "2", "3")
	held := lease(t, q, 2, mcq.LeaseOptions{Duration: time.Hour})

	empty, consumed := queue(t, b, "empty"), queue(t, b, "consumed")
	ended := make(chan error, 4)
	for _, wait := range []func() error{
		func() error {
			_, err := empty.Lease(context.Background(), 1, mcq.LeaseOptions{Wait: time.Hour})
			return err
		},
		func() error {
			return mcq.Consume(context.Background(), empty, func(context.Context, []mcq.Message) error { return nil }, &mcq.ConsumeOptions{Logger: silent})
		},
		func() error {
			return mcq.Consume(context.Background(), consumed, func(context.Context, []mcq.Message) error {
				return errors.New("no")
			}, &mcq.ConsumeOptions{Logger: silent})
		},
	} {
		go func() { ended <- wait() }()
	}
	put(t, consumed, "x")
	if err := b.Health(); err != nil {
		t.Errorf("health: %v", err)
	}
	fail()
	if err := q.Put(t.Context(), mcq.Message{}); !errors.Is(err, mcq.ErrFailed) {
		t.Fatalf("put: %v", err)
	}
	_, peekErr := q.Peek(t.Context(), 1)
	_, purgeErr := q.Purge(t.Context())
	for what, err := range map[string]error{
		"nack": q.Nack(t.Context(), held[0].ID), "peek": peekErr, "purge": purgeErr,
		"extend": q.Extend(t.Context(), held[1].ID, time.Minute), "reject": q.Reject(t.Context(), "no", held[1].ID),
	} {
		if !errors.Is(err, mcq.ErrFailed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := b.Health(); !errors.Is(err, mcq.ErrFailed) {
		t.Errorf("health: %v", err)
	}
	if s := b.Stats(); !strings.Contains(s.Failed, "store failed") || s.Full || len(s.Queues) != 3 {
		t.Errorf("stats: %+v", s)
	}
	for range 3 {
		select {
		case err := <-ended:
			if !errors.Is(err, mcq.ErrFailed) {
				t.Errorf("who waited: %v", err)
			}
		case <-time.After(patience):
			t.Fatal("somebody waits on")
		}
	}
	if err := b.Close(); !errors.Is(err, mcq.ErrFailed) {
		t.Errorf("close: %v", err)
	}
	if _, err := q.Take(t.Context()); !errors.Is(err, mcq.ErrClosed) {
		t.Errorf("take after close: %v", err)
	}
	if err := b.Health(); !errors.Is(err, mcq.ErrClosed) {
		t.Errorf("health after close: %v", err)
	}
}
