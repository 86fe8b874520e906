package flight

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime/trace"
	"slices"
	"sync"
	"time"
)

// Options configure New. The zero value is ready to use.
type Options struct {
	// MinAge is how far back a snapshot reaches at least, as long as MaxBytes
	// suffice. 0 means 5 s.
	MinAge time.Duration

	// MaxBytes is about how much the runtime remembers; it has the last word
	// over MinAge. 0 means 4 MiB.
	MaxBytes uint64

	// Keep is how many snapshots are kept; the oldest goes first. 0 means 4.
	Keep int

	// KeepBytes bounds their size together. A snapshot that is larger alone is
	// given up and counted. 0 means 32 MiB.
	KeepBytes int

	// Every is the time between the beginnings of two snapshots at least; what
	// is triggered before is counted and left. 0 means 1 min.
	Every time.Duration
}

func (o *Options) filled() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.MinAge == 0 {
		out.MinAge = 5 * time.Second
	}
	if out.MaxBytes == 0 {
		out.MaxBytes = 4 << 20
	}
	if out.Keep == 0 {
		out.Keep = 4
	}
	if out.KeepBytes == 0 {
		out.KeepBytes = 32 << 20
	}
	if out.Every == 0 {
		out.Every = time.Minute
	}
	if out.MinAge < 0 || out.Keep < 0 || out.KeepBytes < 0 || out.Every < 0 {
		return out, errors.New("flight: Options: a negative MinAge, Keep, KeepBytes or Every")
	}
	return out, nil
}

// ErrOff is returned for a snapshot of a recorder that is not running.
var ErrOff = errors.New("flight: the recorder is not running")

// ErrTooOften is returned for a snapshot too soon after the one before, or
// while one is being taken.
var ErrTooOften = errors.New("flight: a snapshot was taken just now")

// Recorder keeps snapshots. It is safe for concurrent use; a nil *Recorder is
// never running. The runtime has one flight recorder for the whole process:
// only one Recorder can run at a time.
type Recorder struct {
	opt Options

	mu     sync.Mutex
	on     *trace.FlightRecorder // nil: not running
	taking bool
	last   time.Time // when the newest snapshot was begun
	list   []kept    // newest last
	stats  Stats

	work sync.WaitGroup // snapshots that Trigger asked for
}

// Snapshot describes one.
type Snapshot struct {
	ID     uint64    `json:"id"` // counts from 1
	At     time.Time `json:"at"` // when it was asked for
	Reason string    `json:"reason"`
	Bytes  int       `json:"bytes"`
}

type kept struct {
	Snapshot
	data []byte
}

// Stats are a Recorder's counters; they only grow.
type Stats struct {
	Taken   uint64 `json:"taken"`
	Limited uint64 `json:"limited"` // triggers that came too soon after another, or while it was not running
	Failed  uint64 `json:"failed"`  // that the runtime did not give, or that were too large
}

// New returns a Recorder that is not running.
func New(opts *Options) (*Recorder, error) {
	o, err := opts.filled()
	if err != nil {
		return nil, err
	}
	return &Recorder{opt: o}, nil
}

// Start lets the runtime remember from now on. It does nothing if it does
// already, and fails while somebody else's flight recorder runs.
func (r *Recorder) Start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.on != nil {
		return nil
	}
	on := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: r.opt.MinAge, MaxBytes: r.opt.MaxBytes})
	if err := on.Start(); err != nil {
		return fmt.Errorf("flight: start: %w", err)
	}
	r.on = on
	return nil
}

// Stop ends that; snapshots stay. It waits for one that is being taken.
func (r *Recorder) Stop() {
	if r == nil {
		return
	}
	r.mu.Lock()
	on := r.on
	r.on = nil
	r.mu.Unlock()
	r.work.Wait()
	if on != nil {
		on.Stop()
	}
}

// Close is Stop.
func (r *Recorder) Close() error {
	r.Stop()
	return nil
}

// Running reports whether the runtime remembers.
func (r *Recorder) Running() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.on != nil
}

// Trigger asks for a snapshot, which is taken on a goroutine of its own, so
// that who sees the trouble need not wait. It reports false, and counts, if
// there will be none: see Snapshot.
func (r *Recorder) Trigger(reason string) bool {
	if r == nil {
		return false
	}
	on, at, err := r.begin(r.opt.Every)
	if err != nil {
		return false
	}
	go func() {
		defer r.work.Done()
		_, _ = r.take(on, at, reason) // counted
	}()
	return true
}

// Snapshot takes one and waits for it: some tens of milliseconds. It fails with
// ErrOff, or with ErrTooOften while another is being taken; Options.Every does
// not hold for it.
func (r *Recorder) Snapshot(reason string) (Snapshot, error) {
	if r == nil {
		return Snapshot{}, ErrOff
	}
	on, at, err := r.begin(0)
	if err != nil {
		return Snapshot{}, err
	}
	defer r.work.Done()
	return r.take(on, at, reason)
}

func (r *Recorder) begin(every time.Duration) (*trace.FlightRecorder, time.Time, error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.on == nil:
		r.stats.Limited++
		return nil, now, ErrOff
	case r.taking || !r.last.IsZero() && now.Sub(r.last) < every:
		r.stats.Limited++
		return nil, now, ErrTooOften
	}
	r.taking, r.last = true, now
	r.work.Add(1) // here: Stop takes the mutex first and then waits
	return r.on, now, nil
}

// maxReason bounds a reason's text.
const maxReason = 500

func (r *Recorder) take(on *trace.FlightRecorder, at time.Time, reason string) (Snapshot, error) {
	b := bounded{left: r.opt.KeepBytes}
	_, err := on.WriteTo(&b)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taking = false
	if err != nil {
		r.stats.Failed++
		return Snapshot{}, fmt.Errorf("flight: snapshot: %w", err)
	}
	r.stats.Taken++
	s := Snapshot{ID: r.stats.Taken, At: at, Reason: reason[:min(len(reason), maxReason)], Bytes: b.Len()}
	r.list = append(r.list, kept{s, b.Bytes()})
	size := 0
	for i := len(r.list) - 1; i >= 0; i-- {
		size += r.list[i].Bytes
		if size > r.opt.KeepBytes || len(r.list)-i > r.opt.Keep {
			r.list = slices.Delete(r.list, 0, i+1)
			break
		}
	}
	return s, nil
}

// bounded is a buffer that refuses more than left bytes.
type bounded struct {
	bytes.Buffer
	left int
}

var errTooLarge = errors.New("larger than Options.KeepBytes")

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errTooLarge
	}
	return b.Buffer.Write(p)
}

// Snapshots lists those that are kept, newest first.
func (r *Recorder) Snapshots() []Snapshot {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Snapshot, 0, len(r.list))
	for _, k := range slices.Backward(r.list) {
		list = append(list, k.Snapshot)
	}
	return list
}

// ErrNoSnapshot is returned for a snapshot that is not, or no longer, kept.
var ErrNoSnapshot = errors.New("flight: no such snapshot")

// WriteSnapshot writes the one of that ID as go tool trace reads it.
func (r *Recorder) WriteSnapshot(w io.Writer, id uint64) error {
	if r == nil {
		return fmt.Errorf("%w: %d", ErrNoSnapshot, id)
	}
	r.mu.Lock()
	i := slices.IndexFunc(r.list, func(k kept) bool { return k.ID == id })
	var data []byte // never changed
	if i >= 0 {
		data = r.list[i].data
	}
	r.mu.Unlock()
	if i < 0 {
		return fmt.Errorf("%w: %d", ErrNoSnapshot, id)
	}
	_, err := w.Write(data)
	return err
}

// Stats returns a snapshot of the counters.
func (r *Recorder) Stats() Stats {
	if r == nil {
		return Stats{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}
