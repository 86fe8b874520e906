package mcq

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// QueueOptions say what a queue does with its messages. They are not stored:
// each Open says anew what is wanted. The zero value limits nothing.
type QueueOptions struct {
	// MaxLength bounds the messages in the queue, those that are handed out or
	// delayed included. 0 means no limit.
	MaxLength int

	// MaxBytes bounds their bodies. 0 means no limit. With a limit Open reads
	// the backlog once, about a second for a million messages.
	MaxBytes int64

	// DropOldest makes room for what is put by dropping the oldest messages that
	// are not handed out. Otherwise Put fails with ErrFull.
	DropOldest bool

	// MaxAge drops messages that have not been handed out for so long after they
	// were put, as their TTL does. 0 means no limit.
	MaxAge time.Duration

	// MaxAttempts is how often a message is handed out. If the last of these
	// leases runs out or is given back, the message goes to DeadLetters.
	// 0 means no limit. With 1 Consume still tells the bad message of a batch from
	// the others, by calling its function again; but if that goes on when its time
	// is over, or the process ends, they all go: then set ConsumeOptions.Batch to 1.
	MaxAttempts int

	// DeadLetters is the queue that gets those messages, with the reason in
	// Message.Dead. Empty means that they are dropped. While that queue is full,
	// they come again.
	DeadLetters string

	// DedupeWindow is how long a Message.Key is remembered. 0 means 2 minutes;
	// negative means not at all. At most a million keys are.
	DedupeWindow time.Duration

	// FanOut keeps messages for the subscribers only, not for the queue's own
	// readers. What is put while there is no subscriber is gone.
	FanOut bool
}

const (
	maxDelay     = 10 * 365 * 24 * time.Hour
	maxKeyBytes  = 250
	dedupeWindow = 2 * time.Minute
)

// check reports everything that is wrong with o, which is for queue name.
func (o *QueueOptions) check(name string) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("mcq: QueueOptions of %s: "+format, append([]any{name}, args...)...))
	}
	if o.MaxLength < 0 {
		bad("MaxLength %d: negative", o.MaxLength)
	}
	if o.MaxBytes < 0 {
		bad("MaxBytes %d: negative", o.MaxBytes)
	}
	if o.MaxAge < 0 {
		bad("MaxAge %v: negative", o.MaxAge)
	}
	if o.MaxAttempts < 0 {
		bad("MaxAttempts %d: negative", o.MaxAttempts)
	}
	if o.DeadLetters != "" {
		if err := CheckName(o.DeadLetters); err != nil {
			bad("DeadLetters: %w", err)
		} else if strings.Contains(o.DeadLetters, "+") {
			bad("DeadLetters: %w: %q: nothing can be put to a subscriber", ErrName, o.DeadLetters)
		}
	}
	return errors.Join(errs...)
}

// of returns the options of the queue of that name. A dead-letter queue buries
// nothing in itself, and its subscribers nothing in it: they would get it again.
func (o *Options) of(name string) QueueOptions {
	q, ok := o.Queues[name]
	if !ok {
		q = o.Queue
	}
	if queue, _, _ := strings.Cut(name, "+"); q.DeadLetters == queue {
		q.DeadLetters, q.MaxAttempts = "", 0
	}
	if q.DedupeWindow == 0 {
		q.DedupeWindow = dedupeWindow
	}
	return q
}
