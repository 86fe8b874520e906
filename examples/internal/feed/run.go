package feed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/heddle-go/heddle/watchman/console"
)

// stopTime bounds how long a clean stop may take.
const stopTime = 20 * time.Second

// Feed is a running set of tiers.
type Feed struct {
	tiers []*tier
	admin *http.Server

	consoles []*console.Console
}

// Start starts the tiers that role names: one of the Role constants, or "all"
// for everything in this process. It returns once they accept connections.
func Start(role string, cfg Config) (*Feed, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, usageError{err}
	}
	var starts []func() (*tier, error)
	start := func(f func(Config) (*tier, error), c Config) {
		starts = append(starts, func() (*tier, error) { return f(c) })
	}
	switch role {
	case RoleWeb:
		start(startWeb, cfg)
	case RoleService:
		start(startService, cfg)
	case RoleQueue:
		start(startQueue, cfg)
	case RoleProcessor:
		start(startProcessor, cfg)
	case "all":
		start(startQueue, cfg)
		start(startProcessor, cfg)
		for node := range cfg.Services {
			c := cfg
			c.Node = node
			start(startService, c)
		}
		start(startWeb, cfg)
	default:
		return nil, usageError{fmt.Errorf("feed: -role %q: want all, %s, %s, %s or %s", role, RoleWeb, RoleService, RoleQueue, RoleProcessor)}
	}
	f := &Feed{}
	for _, s := range starts {
		t, err := s()
		if err != nil {
			return nil, errors.Join(err, f.Stop())
		}
		f.tiers = append(f.tiers, t)
	}
	if cfg.Admin != "" {
		if err := f.serveAdmin(cfg.Admin); err != nil {
			return nil, errors.Join(err, f.Stop())
		}
	}
	return f, nil
}

// usageError is an error about the flags.
type usageError struct{ error }

// Wait returns nil when ctx is done, or the error of a tier that ended by itself.
func (f *Feed) Wait(ctx context.Context) error {
	failed := make(chan error, len(f.tiers))
	for _, t := range f.tiers {
		go func() {
			select {
			case err := <-t.failed:
				failed <- err
			case <-t.ctx.Done():
			}
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// Stop takes the tiers down, the outermost first, so that what was accepted is
// finished: the web tier answers, then the service, then the processor, then
// the queue goes to disk.
func (f *Feed) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	var errs []error
	if f.admin != nil {
		errs = append(errs, f.admin.Close())
	}
	for _, c := range f.consoles {
		errs = append(errs, c.Close())
	}
	for i := len(f.tiers) - 1; i >= 0; i-- {
		errs = append(errs, f.tiers[i].stop(ctx))
	}
	return errors.Join(errs...)
}
