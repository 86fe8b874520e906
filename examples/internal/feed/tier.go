package feed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

// keepTraces is how many traces each tier keeps for the admin address.
const keepTraces = 8192

// tier is one running part of the feed: what it serves and how it stops.
type tier struct {
	name  string
	watch *watchman.Watchman

	stops  []stopStep // run in reverse
	cancel context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup
	failed chan error // the first thing that ended without being told to
}

type stopStep struct {
	what string
	stop func(context.Context) error
}

func newTier(name string) (*tier, error) {
	w, err := watchman.New(name, &watchman.Options{KeepTraces: keepTraces})
	if err != nil {
		return nil, err
	}
	t := &tier{name: name, watch: w, failed: make(chan error, 1)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// onStop adds a step to stop; steps run in reverse order.
func (t *tier) onStop(what string, stop func(context.Context) error) {
	t.stops = append(t.stops, stopStep{what, stop})
}

// run starts f in the background. stop cancels its context and waits for it.
func (t *tier) run(what string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(t.ctx)
	done := make(chan struct{})
	t.wg.Go(func() {
		defer close(done)
		err := f(ctx)
		if ctx.Err() != nil || t.ctx.Err() != nil {
			return
		}
		select {
		case t.failed <- fmt.Errorf("feed: %s: %s ended: %w", t.name, what, err):
		default:
		}
	})
	t.onStop(what, func(stopCtx context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-stopCtx.Done():
			return stopCtx.Err()
		}
	})
}

// stop takes the tier down in the reverse order of its start.
func (t *tier) stop(ctx context.Context) error {
	var errs []error
	for i := len(t.stops) - 1; i >= 0; i-- {
		if err := t.stops[i].stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("feed: %s: stopping %s: %w", t.name, t.stops[i].what, err))
		}
	}
	t.cancel()
	t.wg.Wait()
	return errors.Join(errs...)
}

// abort undoes a start that failed with err.
func (t *tier) abort(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(fmt.Errorf("feed: %s: %w", t.name, err), t.stop(ctx))
}

func (t *tier) serveMotan(srv *motan.Server, addr string) error {
	ln, err := listen(addr)
	if err != nil {
		return err
	}
	t.serve("motan server", func() error { return srv.Serve(ln) }, srv.Shutdown)
	return nil
}

// serve runs a server whose Serve returns once shutdown has been called.
func (t *tier) serve(what string, serve func() error, shutdown func(context.Context) error) {
	stopping := make(chan struct{})
	t.wg.Go(func() {
		err := serve()
		select {
		case <-stopping:
		case t.failed <- fmt.Errorf("feed: %s: %s ended: %w", t.name, what, err):
		default:
		}
	})
	t.onStop(what, func(ctx context.Context) error {
		close(stopping)
		return shutdown(ctx)
	})
}

func listen(addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return ln, nil
}
