package mcq

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Report is what Check found.
type Report struct {
	Queues   []QueueReport // by name
	Messages uint64        // that are in the store
	Bytes    uint64        // of their bodies
	Consumed uint64        // of Messages, those that no queue waits for and that are not removed yet

	// Damage says what is wrong, at most a hundred things; empty means nothing.
	Damage []string
}

// QueueReport is one queue, or subscriber, of a Report.
type QueueReport struct {
	Name      string
	Put, Done uint64 // as in QueueStats
}

// Backlog is how many messages are in the queue.
func (q QueueReport) Backlog() uint64 { return q.Put - q.Done }

// maxDamage bounds Report.Damage.
const maxDamage = 100

// Check reads everything in the store in dir, which no process may have open,
// and changes nothing: to read the directory is enough. The error is about what
// keeps it from reading at all: there is no store, which fs.ErrNotExist tells, it
// is in use, which is ErrLocked, or its list of files or its journal is damaged. Only
// opts.Logger is looked at.
func Check(dir string, opts *Options) (*Report, error) {
	o, err := opts.filled()
	if err != nil {
		return nil, err
	}
	c := &checker{b: &Broker{opt: o, queues: make(map[string]*Queue), broken: make(chan struct{})}}
	release, err := use(o.fs, dir)
	if err == nil {
		defer release()
		err = hasStore(o.fs, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("mcq: check %s: %w", dir, err)
	}
	popts := storeOptions(&o, storeLogger{c.b, o.Logger})
	reads := &readFS{FS: checkFS{o.fs}}
	popts.FS = reads
	popts.ReadOnly, popts.ErrorIfNotExists = true, true
	popts.FormatMajorVersion = 0 // whatever it is
	err = guard(func() (err error) {
		c.b.db, err = pebble.Open(dir, popts)
		return err
	})
	switch {
	case err == nil:
	case isLocked(err):
		return nil, fmt.Errorf("mcq: check %s: %w by another process: %w", dir, ErrLocked, err)
	default:
		return nil, fmt.Errorf("mcq: check %s: %w", dir, reads.openError(dir, err))
	}
	c.b.reader = c.b.db
	c.b.journal = &journal{fs: reads, dir: dir}
	err = damaged(guard(c.run))
	if r := c.b.reader; r != c.b.db {
		err = errors.Join(err, r.Close())
	}
	if err := errors.Join(err, c.b.db.Close()); err != nil {
		return nil, fmt.Errorf("mcq: check %s: %w", dir, err)
	}
	return &c.report, nil
}

type checker struct {
	b      *Broker
	report Report
	logs   map[uint32]*messageLog
}

func (c *checker) bad(format string, args ...any) {
	if len(c.report.Damage) < maxDamage {
		c.report.Damage = append(c.report.Damage, fmt.Sprintf(format, args...))
	}
}

func (c *checker) run() error {
	if err := c.b.db.CheckLevels(nil); err != nil {
		c.bad("tables: %v", damaged(err))
	}
	switch format, err := c.b.loadFormat(); {
	case err != nil:
		return err
	case format == 0:
		return errors.New("it is not a store of queues")
	case format == storeFormat:
		if err := c.replay(); err != nil {
			return err
		}
	}
	if _, err := c.b.loadOpens(); err != nil {
		c.bad("%v", err)
	}
	if err := c.b.loadQueues(); err != nil {
		c.bad("%v", damaged(err))
		return nil
	}
	c.logs = make(map[uint32]*messageLog)
	for _, q := range c.b.queues {
		c.logs[q.log.id] = q.log
		c.report.Queues = append(c.report.Queues, QueueReport{q.name, q.put.Load(), q.doneCount.Load()})
	}
	slices.SortFunc(c.report.Queues, func(a, b QueueReport) int { return cmp.Compare(a.Name, b.Name) })
	return c.records()
}

// replay has the reader see what only the journal has.
func (c *checker) replay() error {
	if err := c.b.loadSalt(); err != nil {
		return err
	}
	all := c.b.db.NewIndexedBatch()
	_, err := c.b.journal.load(func(payload []byte) error {
		group := c.b.db.NewBatch()
		defer group.Close()
		if err := group.SetRepr(payload); err != nil {
			return err
		}
		return all.Apply(group, nil)
	})
	c.b.reader = all
	return err
}

// records reads all messages and sees that none is missing.
func (c *checker) records() error {
	it, err := c.b.reader.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixRecord}, UpperBound: []byte{prefixRecord + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	waiting := make(map[*Queue]uint64) // messages found that the reader has not acknowledged
	for ok := it.First(); ok; ok = it.Next() {
		seq, err := seqOf(it.Key())
		if err != nil {
			c.bad("%v", err)
			continue
		}
		l := c.logs[binary.BigEndian.Uint32(it.Key()[1:])]
		if l == nil {
			c.bad("message %d belongs to no queue", seq)
			continue
		}
		var m Message
		if err := parseRecord(it.Value(), &m); err != nil {
			c.bad("queue %s, message %d: %v", l.readers[0].name, seq, err)
			continue
		}
		c.report.Messages++
		c.report.Bytes += uint64(len(m.Body))
		consumed := true
		for _, q := range l.readers {
			if seq >= q.start && !q.acked.has(seq) {
				waiting[q]++
				consumed = false
			}
		}
		if consumed {
			c.report.Consumed++
		}
	}
	if err := it.Error(); err != nil {
		c.bad("messages: %v", damaged(err))
		return nil
	}
	for _, r := range c.report.Queues {
		if found := waiting[c.b.queues[r.Name]]; found != r.Backlog() {
			c.bad("queue %s: %d messages are there, %d were put and not acknowledged", r.Name, found, r.Backlog())
		}
	}
	return nil
}
