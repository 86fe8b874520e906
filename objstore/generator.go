package objstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultAhead = 10 * time.Second

	// reserveAhead is how far past the clock the mark is put while ids are
	// taken; the clock goroutine puts it there again at half of that.
	reserveAhead = 4
	// A reservation beyond reserveAhead begins with minStep ids and doubles
	// while bursts eat it within a second.
	minStep = 4096
	maxStep = 1 << 20

	// tickClosed is the last tick of a closed generator: no mark is above it.
	tickClosed = 1 << 62
)

// GeneratorOptions configures NewGenerator. The zero value makes ids that are
// unique within this process only.
type GeneratorOptions struct {
	// IDC is the node's number, 0 to 15. No two generators in use may share
	// IDC and Business.
	IDC int

	// Business is a number for the kind of ids, 0 to 3.
	Business int

	// Standby sets the lowest bit, for a hot standby that takes over the numbers
	// of a generator that failed.
	Standby bool

	// StateFile is where the generator keeps a mark above all ids it has given,
	// so that neither a restart nor a clock that was set back makes it repeat
	// one. Its directory must exist; StateFile.lock beside it keeps a second
	// process away. Empty: no mark, and ids may repeat if the process restarts
	// within Ahead or the clock is set back meanwhile.
	StateFile string

	// Ahead bounds how far the ids' seconds may run ahead of the clock: a second
	// has 32,768 ids, and a burst borrows from the seconds to come. 0 means 10 s;
	// at least 5 s with a StateFile, at least 1 s without.
	Ahead time.Duration

	// Logger gets what no caller can receive: a mark that could not be written
	// early. nil means slog.Default().
	Logger *slog.Logger
}

func (o *GeneratorOptions) withDefaults() (GeneratorOptions, error) {
	var opts GeneratorOptions
	if o != nil {
		opts = *o
	}
	if opts.Ahead == 0 {
		opts.Ahead = defaultAhead
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	var errs []error
	if opts.IDC < 0 || opts.IDC > maxIDC {
		errs = append(errs, fmt.Errorf("objstore: GeneratorOptions.IDC %d: want 0 to %d", opts.IDC, maxIDC))
	}
	if opts.Business < 0 || opts.Business > maxBusiness {
		errs = append(errs, fmt.Errorf("objstore: GeneratorOptions.Business %d: want 0 to %d", opts.Business, maxBusiness))
	}
	least := time.Second
	if opts.StateFile != "" {
		least = (reserveAhead + 1) * time.Second
	}
	if opts.Ahead < least {
		errs = append(errs, fmt.Errorf("objstore: GeneratorOptions.Ahead %v: want at least %v", opts.Ahead, least))
	}
	return opts, errors.Join(errs...)
}

// Generator gives out object numbers: 53 bits, rising, never twice. It is safe
// for concurrent use.
//
// Inside, an id is a tick: second<<15 | sequence. One atomic counter holds the
// last tick given; the next one is the following tick or the first of the
// clock's second, whichever is later. A tick is given only below the mark, and
// the mark is on disk before it counts.
type Generator struct {
	opts  GeneratorOptions
	fixed int64 // the bits of every id
	now   func() time.Time

	_     [64]byte     // last changes with every id, the two after it rarely
	last  atomic.Int64 // the last tick given
	_     [64]byte
	clock atomic.Int64 // the first tick of the clock's second
	mark  atomic.Int64 // ticks below are reserved; only grows

	skipped atomic.Int64  // ticks passed over because the clock moved on
	refused atomic.Uint64 // calls of Next that failed
	begin   int64         // last at the start

	mu       sync.Mutex // held while the mark is written, see reserve
	file     *stateFile // nil without StateFile
	closed   bool
	step     int64     // size of the next reservation of a burst, in ticks
	stepped  time.Time // when the last one was made
	writes   uint64
	seenLast int64 // last when the clock goroutine looked

	quit chan struct{}
	done chan struct{}
}

// NewGenerator returns a generator that is ready to use. With a StateFile it
// reads that file: a file that is damaged or in use by somebody else is an
// error. The caller must Close it.
func NewGenerator(opts *GeneratorOptions) (*Generator, error) {
	return newGenerator(opts, time.Now)
}

func newGenerator(opts *GeneratorOptions, now func() time.Time) (*Generator, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Generator{opts: o, now: now, step: minStep, quit: make(chan struct{}), done: make(chan struct{})}
	g.fixed = int64(o.IDC)<<idcShift | int64(o.Business)<<businessShift
	if o.Standby {
		g.fixed |= 1
	}
	var mark int64
	if o.StateFile != "" {
		if g.file, mark, err = openStateFile(o.StateFile); err != nil {
			return nil, err
		}
	}
	g.mark.Store(mark)
	g.clock.Store(g.tick(now()))
	g.begin = max(mark, g.clock.Load()) - 1
	g.last.Store(g.begin)
	g.seenLast = g.begin
	go g.run()
	return g, nil
}

// tick is the first tick of t's second, within what the layout can hold.
func (g *Generator) tick(t time.Time) int64 {
	return min(max(t.Unix()-epoch, 0), 1<<secondBits) << sequenceBits
}

// Next returns a number that no other call returned. With a StateFile a
// call waits for that small file to be synced if the generator was idle for
// seconds before, or if a burst ran through what was reserved; all others touch
// memory only. Errors: ErrNoIDs when giving an id
// would mean to repeat one or to run further ahead of the clock than Ahead;
// ErrClosed; or the reason why the mark could not be written.
func (g *Generator) Next() (int64, error) {
	for {
		last, clock, mark := g.last.Load(), g.clock.Load(), g.mark.Load()
		next := max(last+1, clock)
		if next >= mark {
			if err := g.reserve(next); err != nil {
				g.refused.Add(1)
				return 0, err
			}
			continue
		}
		if next != last+1 { // the clock moved on
			if g.last.CompareAndSwap(last, next) {
				g.skipped.Add(next - last - 1)
				return g.number(next), nil
			}
			continue
		}
		if next = g.last.Add(1); next < mark {
			return g.number(next), nil
		}
		g.skipped.Add(1) // others took what was left; this tick is nobody's
	}
}

// number is the id of a tick.
func (g *Generator) number(tick int64) int64 {
	return tick>>sequenceBits<<secondShift | tick&(1<<sequenceBits-1)<<sequenceShift | g.fixed
}

// NewID is Next for an object of type typ.
func (g *Generator) NewID(typ uint32) (ID, error) {
	n, err := g.Next()
	if err != nil {
		return ID{}, err
	}
	return ID{Type: typ, Number: n}, nil
}

// reserve puts the mark above tick next. mu is held across the write of the
// state file on purpose: nobody else can use the lock for anything but the same.
func (g *Generator) reserve(next int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	if next < g.mark.Load() {
		return nil // somebody else did
	}
	now := g.now()
	clock := g.tick(now)
	g.clock.Store(clock)
	most := clock + int64(g.opts.Ahead/time.Second)<<sequenceBits
	most = min(most, 1<<(secondBits+sequenceBits))
	if next >= most {
		return fmt.Errorf("%w: the next one is %v ahead of the clock, at most %v allowed", ErrNoIDs,
			time.Duration((next-clock)>>sequenceBits)*time.Second, g.opts.Ahead)
	}
	mark := clock + reserveAhead<<sequenceBits
	if next+minStep > mark {
		if now.Sub(g.stepped) < time.Second {
			g.step = min(2*g.step, maxStep)
		} else {
			g.step = minStep
		}
		g.stepped = now
		mark = next + g.step
	}
	return g.writeMarkLocked(min(mark, most))
}

func (g *Generator) writeMarkLocked(mark int64) error {
	if g.file != nil {
		if err := g.file.write(mark); err != nil {
			return fmt.Errorf("objstore: id state file: %w", err)
		}
		g.writes++
	}
	g.mark.Store(mark)
	return nil
}

// run keeps the clock's second and, while ids are taken, the mark ahead of it,
// so that Next finds both in memory.
func (g *Generator) run() {
	defer close(g.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := g.now()
		clock := g.tick(now)
		g.clock.Store(clock)
		g.renew(clock)
		timer.Reset(time.Second - time.Duration(now.Nanosecond()))
		select {
		case <-timer.C:
		case <-g.quit:
			return
		}
	}
}

// renew moves the mark on if ids were taken since the last look and half of the
// reservation is gone.
func (g *Generator) renew(clock int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := g.last.Load()
	busy := last != g.seenLast
	g.seenLast = last
	if g.closed || !busy || g.mark.Load() >= clock+reserveAhead<<sequenceBits/2 {
		return
	}
	if err := g.writeMarkLocked(clock + reserveAhead<<sequenceBits); err != nil {
		g.opts.Logger.LogAttrs(context.Background(), slog.LevelWarn, "objstore: mark not written early", slog.Any("err", err))
	}
}

// Close writes the exact mark, so that the next start goes on right there, and
// gives the state file free. Next then returns ErrClosed. A second Close does
// nothing.
func (g *Generator) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		<-g.done
		return nil
	}
	g.closed = true
	g.mu.Unlock()
	close(g.quit)
	<-g.done

	g.mu.Lock()
	defer g.mu.Unlock()
	// Take what is left of the reservation away from callers still in Next, then
	// nothing below last+1 can be free and nothing from there on given.
	last := g.last.Swap(tickClosed)
	g.seenLast = last
	if g.file == nil {
		return nil
	}
	var err error
	if last+1 < g.mark.Load() {
		if werr := g.file.write(last + 1); werr != nil {
			err = fmt.Errorf("objstore: id state file: %w", werr)
		}
	}
	return errors.Join(err, g.file.close())
}

// GeneratorStats is a snapshot of a Generator.
type GeneratorStats struct {
	Issued  uint64        // ids given since the start; only grows
	Refused uint64        // calls of Next that failed; only grows
	Writes  uint64        // times the state file was written; only grows
	Last    int64         // the last number given, or the one before the first
	Ahead   time.Duration // how far Last's second is ahead of the clock; 0 if it is not
}

// Stats returns the generator's counters.
func (g *Generator) Stats() GeneratorStats {
	s := GeneratorStats{Refused: g.refused.Load()}
	g.mu.Lock()
	last := g.last.Load()
	if last >= tickClosed {
		last = g.seenLast
	}
	s.Writes = g.writes
	g.mu.Unlock()
	s.Issued = uint64(max(0, last-g.begin-g.skipped.Load()))
	s.Last = g.number(last)
	s.Ahead = max(0, time.Duration((last-g.tick(g.now()))>>sequenceBits)*time.Second)
	return s
}
