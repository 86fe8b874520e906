package motan

import (
	"context"
	"errors"
	"fmt"
)

// Exchange is one call as an [Interceptor] sees it.
type Exchange struct {
	Service string
	Method  string

	// Peer is the other side's address: on a server the caller's, on a client
	// that of the endpoint that was tried last, empty before the first try.
	Peer string

	// Request is the argument: on a client what the caller passed, on a server a
	// pointer to what was decoded. Several arguments are an [Args].
	Request any

	// Response is, on a client, a pointer to what the answer is decoded into and,
	// on a server once next has returned, what the handler returned; an
	// interceptor that answers without calling next sets it. One-way calls have nil.
	Response any

	// RequestBytes and ResponseBytes are the lengths of the bodies on the wire,
	// 0 as long as they are not known.
	RequestBytes, ResponseBytes int

	self any // what this is part of
}

// Invoker makes or answers a call.
type Invoker func(ctx context.Context, x *Exchange) error

// Interceptor wraps all calls of a client or server: it returns what is called
// instead of next, and may do something before and after next, change the context
// or the exchange, or return without calling next. It is applied once, when the
// client or server is made; the Invoker that it returns runs on many goroutines at
// once and must not keep the exchange. The first of several is the outermost. On a
// client it sees a call once, however often it is tried.
type Interceptor func(next Invoker) Invoker

// chain applies interceptors to inner. None of them is nil; what one returns may be.
func chain(list []Interceptor, inner Invoker) (Invoker, error) {
	for i := len(list) - 1; i >= 0; i-- {
		if inner = list[i](inner); inner == nil {
			return nil, fmt.Errorf("motan: Interceptors[%d] returned nil", i)
		}
	}
	return inner, nil
}

// noNils returns an error for each interceptor that is nil.
func noNils(of string, list []Interceptor) error {
	var errs []error
	for i, it := range list {
		if it == nil {
			errs = append(errs, fmt.Errorf("motan: %s.Interceptors[%d]: nil", of, i))
		}
	}
	return errors.Join(errs...)
}
