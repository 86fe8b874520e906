package motan

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// Metadata is text that travels beside a call: pairs of key and value in the
// order in which they were added. Other Motan implementations call them
// attachments. Keys that begin with M_ are the protocol's own.
type Metadata []struct{ Key, Value string }

// Get returns the value of key, the last if there are several, "" if there is none.
func (m Metadata) Get(key string) string {
	for i := len(m) - 1; i >= 0; i-- {
		if m[i].Key == key {
			return m[i].Value
		}
	}
	return ""
}

type outgoingKey struct{}

// outgoing is metadata in encoded form, ready to append.
type outgoing struct {
	pairs []byte
	err   error
}

// WithMetadata makes calls under ctx carry a key and its value to the server.
// The calls fail if the key begins with M_ or is traceparent, tracestate or
// baggage, or if either is empty or contains a line feed, which the protocol
// cannot carry.
func WithMetadata(ctx context.Context, key, value string) context.Context {
	next := &outgoing{}
	if old, ok := ctx.Value(outgoingKey{}).(*outgoing); ok {
		*next = outgoing{old.pairs[:len(old.pairs):len(old.pairs)], old.err}
	}
	if err := checkPair(key, value); err != nil {
		next.err = errors.Join(next.err, err)
	} else {
		next.pairs = appendMeta(next.pairs, 0, key, value)
	}
	return context.WithValue(ctx, outgoingKey{}, next)
}

func checkPair(key, value string) error {
	switch {
	case key == "" || value == "":
		return errors.New("motan: metadata " + quote(key) + ": key and value must not be empty")
	case strings.Contains(key, "\n") || strings.Contains(value, "\n"):
		return errors.New("motan: metadata " + quote(key) + ": contains a line feed")
	case strings.HasPrefix(key, "M_") || key == keyTraceparent || key == keyTracestate || key == keyBaggage:
		return errors.New("motan: metadata " + quote(key) + ": the key is the protocol's own")
	}
	return nil
}

type replyKey struct{}

// WithReply stores the metadata that comes with the answers of calls under ctx in
// *to, replacing what is there; each call that is answered does. Over the wire it
// includes the protocol's own.
func WithReply(ctx context.Context, to *Metadata) context.Context {
	return context.WithValue(ctx, replyKey{}, to)
}

// Incoming is what a handler can learn about the call that it answers.
type Incoming struct {
	Service     string
	Method      string
	Peer        string // the connection's other end
	Application string // who calls, as the caller says; may be empty
	Group       string // which group the caller asked for; may be empty
	Version     string
	RequestID   uint64
	Received    time.Time
	Metadata    Metadata // what the caller added; over HTTP sorted by key
}

// IncomingCall returns what is known about the call that ctx belongs to; ok is
// false if ctx is no handler's.
func IncomingCall(ctx context.Context) (in Incoming, ok bool) {
	c, ok := ctx.Value(incomingKey{}).(*callContext)
	if !ok {
		return Incoming{}, false
	}
	in = Incoming{
		Service: c.method.names[0], Method: c.method.names[1], Peer: c.caller.peer, Application: c.caller.application,
		Group: c.caller.group, Version: c.caller.version, RequestID: c.id, Received: c.received,
	}
	if c.meta != nil {
		in.Metadata = slices.Clone(*c.meta) // other calls have the same
	}
	return in, true
}

// Reply adds a key and its value to the metadata of the answer to the call that
// ctx belongs to. It returns an error where WithMetadata's call would fail, and if
// ctx is no handler's.
func Reply(ctx context.Context, key, value string) error {
	c, ok := ctx.Value(incomingKey{}).(*callContext)
	if !ok {
		return errors.New("motan: Reply: the context is no handler's")
	}
	if err := checkPair(key, value); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reply = appendMeta(c.reply, 0, key, value)
	return nil
}

type incomingKey struct{}

// caller is what the requests of one client have in common. Nobody changes one.
type caller struct {
	peer, application, group, version string
}

// callContext is the context of a handler. Most handlers never ask for Done, so
// the timer and channel that it needs are only made for those that do.
type callContext struct {
	context.Context // the server's
	deadline        time.Time
	received        time.Time
	id              uint64
	method          *serverMethod
	caller          *caller
	meta            *Metadata // what the caller added; nil for nothing

	mu     sync.Mutex
	timed  context.Context // made by Done
	cancel context.CancelFunc
	ended  bool
	reply  []byte // metadata of the answer
}

// Deadline is the caller's, if it has one.
func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done is closed at the deadline, when the handler has returned, and when the
// server closes.
func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		if c.deadline.IsZero() {
			c.timed, c.cancel = context.WithCancel(c.Context)
		} else {
			c.timed, c.cancel = context.WithDeadline(c.Context, c.deadline)
		}
		if c.ended {
			c.cancel()
		}
	}
	return c.timed.Done()
}

// Err is nil until Done is closed, or would be.
func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.timed != nil:
		return c.timed.Err()
	case c.ended:
		return context.Canceled
	case c.Context.Err() != nil:
		return c.Context.Err()
	case !c.deadline.IsZero() && !now().Before(c.deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// Value gives the context itself to this package. Package context finds the timed
// context through it, and needs no goroutine for contexts made from this one.
func (c *callContext) Value(key any) any {
	if key == (incomingKey{}) {
		return c
	}
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return c.Context.Value(key)
}

// appendReply appends what Reply added.
func (c *callContext) appendReply(b []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.reply) == 0 {
		return b
	}
	return append(append(b, '\n'), c.reply...)
}

// replied returns what Reply added.
func (c *callContext) replied() Metadata {
	c.mu.Lock()
	defer c.mu.Unlock()
	return decodeMeta(c.reply)
}

// cut ends the context while the handler runs: the server closes.
func (c *callContext) cut() {
	c.Done()
	c.end()
}

// end is called when the handler has returned.
func (c *callContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}
