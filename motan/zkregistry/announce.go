package zkregistry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/heddle-go/heddle/motan"
)

// announced is one node that is to be there as long as the session is.
type announced struct {
	path    string
	content []byte
	client  bool // not a server's
	uses    int  // of a client's: by how many watches
}

// Announce implements motan.Announcer. The node is ephemeral: it goes with the
// session, and comes again with the next one.
func (r *Registry) Announce(ctx context.Context, o motan.Offer) (leave func(context.Context) error, err error) {
	if o.Group == "" {
		o.Group = "default_rpc"
	}
	if o.Version == "" {
		o.Version = "1.0"
	}
	path, err := servicePath(o.Group, o.Service)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(o.Addr, "/\x00") || o.Addr == "" {
		return nil, fmt.Errorf("zkregistry: address %q: want host:port", o.Addr)
	}
	a := &announced{path: path + "/" + o.Addr, content: []byte(formatNode(o, r.opt.Application))}
	if r.opt.Java {
		a.content = java(string(a.content))
	}
	r.mu.Lock()
	switch {
	case r.closed:
		err = ErrClosed
	case r.announced[a.path] != nil:
		err = fmt.Errorf("zkregistry: %s is announced already", a.path)
	default:
		r.announced[a.path] = a
	}
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		if _, err = within(ctx, r, func() (struct{}, error) { return struct{}{}, r.createWanted(a) }); err == nil {
			break
		}
		r.stats.failures.Add(1)
		if !r.again(ctx, try) {
			r.forget(a)
			return nil, fmt.Errorf("zkregistry: %s: %w", a.path, err)
		}
	}
	return func(ctx context.Context) error { return r.leave(ctx, a) }, nil
}

func (r *Registry) forget(a *announced) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.announced, a.path)
}

// leave removes the node.
func (r *Registry) leave(ctx context.Context, a *announced) error {
	r.forget(a)
	for try := 0; ; try++ {
		_, err := within(ctx, r, func() (struct{}, error) { return struct{}{}, r.conn.Delete(a.path, -1) })
		if err == nil || errors.Is(err, zk.ErrNoNode) {
			return nil
		}
		if !r.again(ctx, try) {
			return fmt.Errorf("zkregistry: leave %s: %w", a.path, err)
		}
	}
}

// createWanted makes the node, unless it has been given up meanwhile.
func (r *Registry) createWanted(a *announced) error {
	if err := r.create(a); err != nil {
		return err
	}
	if r.wanted(a.path) != a {
		r.remove(a.path)
	}
	return nil
}

// remove deletes a node of a path that is not wanted any more, or makes it what it is
// to be now. At the latest what fails here goes with the session.
func (r *Registry) remove(path string) error {
	if r.wanted(path) == nil {
		if err := r.conn.Delete(path, -1); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
	}
	if next := r.wanted(path); next != nil { // somebody came meanwhile
		return r.create(next)
	}
	return nil
}

func (r *Registry) wanted(path string) *announced {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.announced[path]
}

// create makes the node, and its parents if they are not there. A node of that name
// that is left over from another session is replaced, or it would vanish with
// that session.
func (r *Registry) create(a *announced) error {
	_, err := r.conn.Create(a.path, a.content, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	if errors.Is(err, zk.ErrNoNode) {
		parent := ""
		for _, part := range strings.Split(strings.TrimPrefix(a.path[:strings.LastIndexByte(a.path, '/')], "/"), "/") {
			parent += "/" + part
			if _, err := r.conn.Create(parent, nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
				return err
			}
		}
		_, err = r.conn.Create(a.path, a.content, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	}
	if errors.Is(err, zk.ErrNodeExists) {
		_, stat, gerr := r.conn.Get(a.path)
		switch {
		case gerr == nil && stat.EphemeralOwner == r.conn.SessionID():
			_, err = r.conn.Set(a.path, a.content, -1)
		case gerr == nil || errors.Is(gerr, zk.ErrNoNode):
			if derr := r.conn.Delete(a.path, -1); derr != nil && !errors.Is(derr, zk.ErrNoNode) {
				return derr
			}
			_, err = r.conn.Create(a.path, a.content, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
		default:
			err = gerr
		}
	}
	if err == nil && !a.client {
		r.stats.announces.Add(1)
	}
	return err
}

// keepAnnounced announces everything again when there is another session.
func (r *Registry) keepAnnounced(sessions <-chan struct{}) {
	last := r.conn.SessionID()
	for {
		select {
		case <-sessions:
		case <-r.ctx.Done():
			return
		}
		id := r.conn.SessionID()
		if id == last {
			continue // connected again within the session: its nodes are there
		}
		for try := 0; !r.announceAll(); try++ {
			r.stats.failures.Add(1)
			if !r.again(r.ctx, try) {
				return
			}
		}
		last = id
	}
}

// announceAll reports whether every node is there now.
func (r *Registry) announceAll() bool {
	r.mu.Lock()
	all := make([]*announced, 0, len(r.announced))
	for _, a := range r.announced {
		all = append(all, a)
	}
	r.mu.Unlock()
	ok := true
	for _, a := range all {
		if err := r.createWanted(a); err != nil {
			r.opt.Logger.Warn("zkregistry: not announced yet", "path", a.path, "error", err)
			ok = false
		}
	}
	return ok
}
