package mcq

import (
	"errors"

	"github.com/heddle-go/heddle/watchman"
)

var (
	// ErrClosed is returned by everything on a closed Broker, Server or Client.
	ErrClosed = errors.New("mcq: closed")

	// ErrEmpty is returned by Take when there is no message.
	ErrEmpty = errors.New("mcq: queue empty")

	// ErrNotLeased is wrapped when a message to acknowledge, give back or extend
	// is not leased: it was acknowledged already, or was never handed out.
	ErrNotLeased = errors.New("mcq: message not leased")

	// ErrDropped is returned on the handle of a queue that was dropped.
	ErrDropped = errors.New("mcq: queue dropped")

	// ErrTooLarge is wrapped when a message is larger than Options.MaxMessage.
	ErrTooLarge = errors.New("mcq: message too large")

	// ErrMessage is wrapped when a field of a message is out of range.
	ErrMessage = errors.New("mcq: bad message")

	// ErrName is wrapped when a name cannot be a queue's.
	ErrName = errors.New("mcq: bad queue name")

	// ErrFull is wrapped when a queue holds as much as it may: nothing was stored.
	// It wraps watchman.ErrRejected.
	ErrFull error = refusal("mcq: queue full")

	// ErrNoSpace is wrapped by Put and by the making of a queue while less than
	// Options.MinFree is free on the disk, or a write has found it full: nothing
	// was stored. While the store's log itself waits for space, it is also what Ack
	// and Take return. All else goes on, and so do these once there is space. It
	// wraps watchman.ErrRejected.
	ErrNoSpace error = refusal("mcq: out of disk space")

	// ErrTooMany is returned when a limit of the Broker is reached.
	ErrTooMany = errors.New("mcq: too many queues")

	// ErrLocked is wrapped by Open and Check when the directory is open already, in
	// another process or in this one.
	ErrLocked = errors.New("mcq: store in use")

	// ErrFailed is wrapped by everything after the disk has failed: nothing is
	// acknowledged any more, and the store must be opened again.
	ErrFailed = errors.New("mcq: store failed")

	// ErrConnection is wrapped by a Client's errors about the connection: the
	// server may or may not have done what was asked.
	ErrConnection = errors.New("mcq: connection failed")

	// ErrServer is wrapped by a Client's errors that the server answered.
	ErrServer = errors.New("mcq: server error")
)

// refusal is an error of work that was refused, so that watchman counts it as such.
type refusal string

func (r refusal) Error() string { return string(r) }

func (refusal) Unwrap() error { return watchman.ErrRejected }

// Retryable reports whether trying again can help: the connection failed or
// the server did not answer in time. A message put again may then be in the
// queue twice.
func Retryable(err error) bool { return errors.Is(err, ErrConnection) }
