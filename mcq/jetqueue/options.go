package jetqueue

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/watchman"
)

// Options configures Open. The zero value is ready to use on a cluster of three.
type Options struct {
	// Prefix is in front of all subjects and, in upper case, of all streams, so
	// that several sets of queues can share an account. Letters, digits, - and _.
	// "" means "mcq".
	Prefix string

	// Replicas is how many servers have each message; more than half of them
	// must have it before it is acknowledged. 0 means 3; 1, 3 and 5 make sense.
	Replicas int

	// Queue is how queues behave, but for those that Queues names; of a
	// subscriber, queue+subscriber, only MaxAttempts and DeadLetters count. It is
	// applied to a queue's stream when a process first uses the queue: give all
	// processes the same. MaxLength and MaxBytes count messages that are
	// acknowledged until all before them are, and those of all subscribers;
	// MaxAge drops messages that are leased, too; one whose last lease ran out goes
	// to DeadLetters when it would be handed out once more; DedupeWindow cannot be
	// negative.
	Queue  mcq.QueueOptions
	Queues map[string]mcq.QueueOptions

	// Failover is after how long what a process had leased is handed out again
	// if that process has vanished or cannot reach the cluster. 0 means 30 s, at
	// least a second.
	Failover time.Duration

	// Timeout bounds each operation that needs the cluster if ctx has no earlier
	// deadline; within it, what a server that is lost has not answered is tried
	// again. 0 means 10 s.
	Timeout time.Duration

	Watchman *watchman.Watchman // nil: nothing is watched
	Logger   *slog.Logger       // nil means slog.Default(); hears of dead letters and of what fails in the background
}

func (o *Options) filled() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Prefix == "" {
		out.Prefix = "mcq"
	}
	if out.Replicas == 0 {
		out.Replicas = 3
	}
	if out.Failover == 0 {
		out.Failover = 30 * time.Second
	}
	if out.Timeout == 0 {
		out.Timeout = 10 * time.Second
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("jetqueue: Options."+format, args...))
	}
	if i := strings.IndexFunc(out.Prefix, func(r rune) bool { return r > 0x7f || !plain(byte(r)) }); i >= 0 || len(out.Prefix) > 32 {
		bad("Prefix %q: want up to 32 letters, digits, - and _", out.Prefix)
	}
	if out.Replicas < 1 || out.Replicas > 5 {
		bad("Replicas %d: want 1 to 5", out.Replicas)
	}
	if out.Failover < time.Second {
		bad("Failover %v: want at least 1s", out.Failover)
	}
	if out.Timeout < time.Millisecond {
		bad("Timeout %v: want at least 1ms", out.Timeout)
	}
	errs = append(errs, checkQueue("Queue", &out.Queue))
	queues := make(map[string]mcq.QueueOptions, len(out.Queues))
	for name, q := range out.Queues {
		field := fmt.Sprintf("Queues[%q]", name)
		if _, _, err := splitName(name); err != nil {
			bad("%s: %w", field, err)
		}
		errs = append(errs, checkQueue(field, &q))
		queues[name] = q
	}
	out.Queues = queues
	return out, errors.Join(errs...)
}

func checkQueue(field string, o *mcq.QueueOptions) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("jetqueue: Options."+field+"."+format, args...))
	}
	if o.MaxLength < 0 {
		bad("MaxLength %d: negative", o.MaxLength)
	}
	if o.MaxBytes < 0 {
		bad("MaxBytes %d: negative", o.MaxBytes)
	}
	if o.MaxAge != 0 && o.MaxAge < time.Second {
		bad("MaxAge %v: want at least 1s", o.MaxAge)
	}
	if o.MaxAttempts < 0 {
		bad("MaxAttempts %d: negative", o.MaxAttempts)
	}
	if o.DedupeWindow != 0 && o.DedupeWindow < 100*time.Millisecond {
		bad("DedupeWindow %v: want at least 100ms", o.DedupeWindow)
	}
	if o.DeadLetters != "" {
		if err := checkName(o.DeadLetters); err != nil {
			bad("DeadLetters: %w", err)
		}
	}
	return errors.Join(errs...)
}

// of returns the options of the queue of that name. A dead-letter queue buries
// nothing in itself.
func (o *Options) of(name string) mcq.QueueOptions {
	q, ok := o.Queues[name]
	if !ok {
		q = o.Queue
	}
	if queue, _, _ := strings.Cut(name, "+"); q.DeadLetters == queue {
		q.DeadLetters, q.MaxAttempts = "", 0
	}
	if q.DedupeWindow == 0 {
		q.DedupeWindow = 2 * time.Minute
	}
	if q.MaxAge > 0 {
		q.DedupeWindow = min(q.DedupeWindow, q.MaxAge) // the server wants that
	}
	return q
}
