package motan

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"sync/atomic"
	"time"
)

// Fault is what a FaultInjector does to calls.
type Fault struct {
	// Match is a pattern for SERVICE/METHOD as of package path: com.example.*/show.
	Match string

	// Delay is added to calls. Of DelayShare calls each one is delayed; 0 means all.
	Delay      time.Duration
	DelayShare float64

	// ErrorShare of the calls are not made but fail with Error; nil means
	// CodeReject.
	ErrorShare float64
	Error      *Error
}

// FaultInjector makes calls slow or fail, to see what becomes of those who depend
// on them. Its interceptor goes into the options of a client or a server; what it
// does is set while they run. The zero value does nothing. It is safe for
// concurrent use.
type FaultInjector struct {
	faults   atomic.Pointer[[]Fault]
	injected atomic.Uint64
}

// Set replaces the faults. The first one that matches a call is the one that
// counts. No faults end the injection. It returns an error, and changes nothing,
// if one of them makes no sense.
func (f *FaultInjector) Set(faults ...Fault) error {
	var errs []error
	list := make([]Fault, 0, len(faults))
	for i, x := range faults {
		if _, err := path.Match(x.Match, ""); err != nil || x.Match == "" {
			errs = append(errs, fmt.Errorf("motan: fault %d: pattern %q: malformed or empty", i, x.Match))
		}
		if x.Delay < 0 || !(x.DelayShare >= 0 && x.DelayShare <= 1) || !(x.ErrorShare >= 0 && x.ErrorShare <= 1) {
			errs = append(errs, fmt.Errorf("motan: fault %d: delay %v for a share of %v, errors for %v: want no negative delay, shares from 0 to 1", i, x.Delay, x.DelayShare, x.ErrorShare))
		}
		if x.Error != nil && x.Error.Code == 0 {
			errs = append(errs, fmt.Errorf("motan: fault %d: error %q: no code", i, x.Error.Message))
		}
		if x.DelayShare == 0 {
			x.DelayShare = 1
		}
		if x.Error == nil {
			x.Error = &Error{Code: CodeReject, Type: Service, Message: "fault injected"}
		}
		list = append(list, x)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	f.faults.Store(&list)
	return nil
}

// Injected is how many calls were delayed or failed; it only grows.
func (f *FaultInjector) Injected() uint64 { return f.injected.Load() }

// Intercept is the Interceptor.
func (f *FaultInjector) Intercept(next Invoker) Invoker {
	return func(ctx context.Context, x *Exchange) error {
		list := f.faults.Load()
		if list == nil || len(*list) == 0 {
			return next(ctx, x)
		}
		name := x.Service + "/" + x.Method
		for i := range *list {
			if ok, _ := path.Match((*list)[i].Match, name); ok { // Set has seen to the error
				return f.inject(ctx, &(*list)[i], next, x)
			}
		}
		return next(ctx, x)
	}
}

func (f *FaultInjector) inject(ctx context.Context, fault *Fault, next Invoker, x *Exchange) error {
	fails := rand.Float64() < fault.ErrorShare
	slow := fault.Delay > 0 && rand.Float64() < fault.DelayShare
	if fails || slow {
		f.injected.Add(1)
	}
	if slow {
		t := time.NewTimer(fault.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return timeoutError("fault injected", 0, ctx.Err(), false)
		}
	}
	if fails {
		e := *fault.Error
		return &e
	}
	return next(ctx, x)
}
