package zkregistry

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"
)

// WatchCommands implements motan.CommandSource: the command is the contents of
// /motan/GROUP/command, a Java-serialized string or not, and empty if the node is not
// there.
func (r *Registry) WatchCommands(ctx context.Context, group string, update func([]byte)) error {
	if _, err := servicePath(group, "command"); err != nil {
		return err
	}
	path := "/motan/" + group + "/command"
	var command string
	var changed <-chan zk.Event
	var err error
	for try := 0; ; try++ {
		var got watched[string]
		got, err = within(ctx, r, func() (watched[string], error) { return watch(r.command(path)) })
		if err == nil {
			command, changed = got.what, got.changed
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
	update([]byte(command))
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.wg.Go(func() { r.followCommand(ctx, path, command, changed, update) })
	}
	return nil
}

func (r *Registry) followCommand(ctx context.Context, path, command string, changed <-chan zk.Event, update func([]byte)) {
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-r.ctx.Done():
			return
		}
		var next string
		for try := 0; ; try++ {
			var err error
			if next, changed, err = r.command(path); err == nil {
				break
			}
			r.stats.failures.Add(1)
			if !r.again(ctx, try) {
				return
			}
		}
		if next != command && ctx.Err() == nil {
			command = next
			update([]byte(command))
		}
	}
}

// command reads the node. changed gets an event when it is another.
func (r *Registry) command(path string) (command string, changed <-chan zk.Event, err error) {
	content, _, changed, err := r.conn.GetW(path)
	if errors.Is(err, zk.ErrNoNode) {
		var there bool
		if there, _, changed, err = r.conn.ExistsW(path); err == nil && there { // it came this moment
			content, _, changed, err = r.conn.GetW(path)
		}
	}
	if err != nil {
		return "", nil, err
	}
	if text, err := plain(content); err == nil {
		return text, changed, nil
	}
	return string(content), changed, nil // no command, but not the end of the one before
}
