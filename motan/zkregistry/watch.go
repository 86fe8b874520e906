package zkregistry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/go-zookeeper/zk"

	"github.com/heddle-go/heddle/motan"
)

type counters struct {
	updates, failures, emptied, announces atomic.Uint64
}

// Stats are a Registry's counters; they only grow.
type Stats struct {
	Updates   uint64 // lists given to clients
	Failures  uint64 // requests to ZooKeeper that failed and were made again
	Emptied   uint64 // empty lists that were ignored
	Announces uint64 // nodes created, again after a lost session too
}

// Stats returns a snapshot.
func (r *Registry) Stats() Stats {
	return Stats{
		Updates: r.stats.updates.Load(), Failures: r.stats.failures.Load(),
		Emptied: r.stats.emptied.Load(), Announces: r.stats.announces.Load(),
	}
}

// Watch implements motan.Registry. A service that nobody has announced yet has an
// empty list. As long as ctx is not done a node beside those of the servers says
// who watches; Watch does not wait for it.
func (r *Registry) Watch(ctx context.Context, service, group, version string, update func([]motan.Endpoint)) error {
	path, err := servicePath(group, service)
	if err != nil {
		return err
	}
	var list []motan.Endpoint
	var changed <-chan zk.Event
	for try := 0; ; try++ {
		var got watched[[]motan.Endpoint]
		got, err = within(ctx, r, func() (watched[[]motan.Endpoint], error) { return watch(r.list(path, service, version)) })
		if err == nil {
			list, changed = got.what, got.changed
			break
		}
		if r.ctx.Err() != nil {
			return ErrClosed
		}
		r.stats.failures.Add(1)
		if !r.again(ctx, try) {
			return fmt.Errorf("zkregistry: %s: %w", path, err)
		}
	}
	r.stats.updates.Add(1)
	update(slices.Clone(list))
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.wg.Go(func() { r.subscribed(ctx, service, group, version) })
		r.wg.Go(func() { r.follow(ctx, path, service, version, list, changed, update) })
	}
	return nil
}

// follow gives each change to update, until ctx is done or the registry closes.
func (r *Registry) follow(ctx context.Context, path, service, version string, list []motan.Endpoint, changed <-chan zk.Event, update func([]motan.Endpoint)) {
	for {
		select {
		case <-changed: // the session's end is told here too
		case <-ctx.Done():
			return
		case <-r.ctx.Done():
			return
		}
		var next []motan.Endpoint
		for try := 0; ; try++ {
			var err error
			if next, changed, err = r.list(path, service, version); err == nil {
				break
			}
			r.stats.failures.Add(1)
			if try == 0 {
				r.opt.Logger.Warn("zkregistry: ZooKeeper does not answer; the last list stays", "path", path, "error", err)
			}
			if !r.again(ctx, try) {
				return
			}
		}
		switch {
		case len(next) == 0 && len(list) > 0:
			r.stats.emptied.Add(1)
			r.opt.Logger.Warn("zkregistry: empty list ignored", "path", path, "version", version)
		case ctx.Err() == nil && !slices.Equal(next, list):
			list = next
			r.stats.updates.Add(1)
			update(slices.Clone(list))
		}
	}
}

// list reads the nodes of a service. changed gets an event when they are others.
func (r *Registry) list(path, service, version string) (list []motan.Endpoint, changed <-chan zk.Event, err error) {
	names, _, changed, err := r.conn.ChildrenW(path)
	if errors.Is(err, zk.ErrNoNode) {
		var there bool
		if there, _, changed, err = r.conn.ExistsW(path); err == nil && there { // it came this moment
			names, _, changed, err = r.conn.ChildrenW(path)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		content, _, err := r.conn.Get(path + "/" + name)
		if errors.Is(err, zk.ErrNoNode) {
			continue // gone already; changed knows
		}
		if err != nil {
			return nil, nil, err
		}
		n, err := parseNode(name, content)
		if err != nil {
			r.opt.Logger.Warn("zkregistry: node ignored", "path", path, "error", err)
			continue
		}
		if n.fits(service, version) {
			list = append(list, motan.Endpoint{Addr: n.addr, Weight: n.weight})
		}
	}
	slices.SortFunc(list, func(a, b motan.Endpoint) int { return cmp.Compare(a.Addr, b.Addr) })
	return list, changed, nil
}
