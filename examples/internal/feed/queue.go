package feed

import (
	"context"
	"path/filepath"

	"github.com/heddle-go/heddle/mcq"
)

// startQueue runs the tier that holds statuses between being acknowledged and
// being in the database. Every memcached client can look at it.
func startQueue(cfg Config) (*tier, error) {
	t, err := newTier(RoleQueue)
	if err != nil {
		return nil, err
	}
	broker, err := mcq.Open(filepath.Join(cfg.Data, "queue"), &mcq.Options{Watchman: t.watch})
	if err != nil {
		return nil, t.abort(err)
	}
	t.onStop("queue", func(context.Context) error { return broker.Close() })

	srv, err := mcq.NewServer(broker, nil)
	if err != nil {
		return nil, t.abort(err)
	}
	ln, err := listen(cfg.Queue)
	if err != nil {
		return nil, t.abort(err)
	}
	t.serve("queue server", func() error { return srv.Serve(ln) }, srv.Shutdown)
	return t, nil
}
