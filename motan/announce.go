package motan

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Offer is a service at an address, as a server announces it.
type Offer struct {
	Service  string
	Group    string // "" means "default_rpc"
	Version  string // "" means "1.0"
	Endpoint        // where it is
}

// Announcer makes services known to the clients of a registry. The rules:
//
//  1. Announce returns nil once clients can find the offer. It is kept known,
//     across failures of the registry, until leave is called.
//  2. leave makes the offer unknown. It is called once; it returns an error if
//     that did not succeed before ctx ended, and the offer is forgotten anyway.
//     Shutdown does not wait for one that goes on after that.
//  3. Both may be called by many servers at once.
type Announcer interface {
	Announce(ctx context.Context, o Offer) (leave func(ctx context.Context) error, err error)
}

// Announce makes all services of the server known under an address, until
// Shutdown: call it when the server serves. It returns an error, and nothing stays
// announced, if one of them cannot be, or if the address is none that clients on
// other machines can call: one without a host or with an unspecified one, as
// listeners for all addresses have, or port 0.
func (s *Server) Announce(ctx context.Context, a Announcer, group, version string, at Endpoint) error {
	if a == nil {
		return errors.New("motan: announce: no announcer given")
	}
	if err := checkCallable(at.Addr); err != nil {
		return err
	}
	s.mu.Lock()
	names := make([]string, 0, len(s.services))
	for name := range s.services {
		names = append(names, name)
	}
	s.mu.Unlock()
	if group == "" {
		group = "default_rpc"
	}
	if version == "" {
		version = "1.0"
	}
	s.listed.Store(int64(weightOf(at)))
	var leave []func(context.Context) error
	for _, name := range names {
		l, err := a.Announce(ctx, Offer{Service: name, Group: group, Version: version, Endpoint: at})
		if err != nil {
			err = fmt.Errorf("motan: announce %s: %w", name, err)
			for _, l := range leave {
				err = errors.Join(err, l(ctx))
			}
			return err
		}
		leave = append(leave, l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave = append(s.leave, leave...)
	return nil
}

// leaveMost bounds how long leaving takes.
const leaveMost = 5 * time.Second

// leaveRegistries makes the server unknown. It takes at most a fifth of the time
// that ctx has: when the registry is gone, the calls in flight are to be answered
// all the same. It does not wait longer for one that does not heed its context.
func (s *Server) leaveRegistries(ctx context.Context) error {
	s.mu.Lock()
	leave := s.leave
	s.leave = nil
	s.mu.Unlock()
	most := leaveMost
	if end, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(end)/5)
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	results := make(chan error, len(leave))
	for _, l := range leave {
		go func() { results <- l(ctx) }()
	}
	var errs []error
	for range leave {
		select {
		case err := <-results:
			errs = append(errs, err)
		case <-ctx.Done():
			return errors.Join(append(errs, fmt.Errorf("motan: leaving the registry: %w", ctx.Err()))...)
		}
	}
	return errors.Join(errs...)
}
