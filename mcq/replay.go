package mcq

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// beginJournal makes a store that is new, or whose log was Pebble's, one with a
// journal. What Pebble's log had is in tables since Pebble was opened. The journal has
// its first group before the store says that there is one, so that it is missed should
// it get lost.
func (b *Broker) beginJournal() error {
	names, err := b.journal.files()
	if err != nil {
		return err
	}
	switch err := b.loadSalt(); {
	case err == nil: // a crash came between
		for _, name := range names {
			if err := b.journal.fs.Remove(b.journal.path(name)); err != nil {
				return err
			}
		}
	case !errors.Is(err, pebble.ErrNotFound):
		return err
	case len(names) > 0:
		return fmt.Errorf("damaged list of files: what %s belongs to is not in it", b.journal.path(names[0]))
	default:
		if err := b.makeSalt(); err != nil {
			return err
		}
	}
	if err := b.journal.end(); err != nil {
		return err
	}
	if err := b.db.Set([]byte{prefixFormat}, []byte{storeFormat}, pebble.NoSync); err != nil {
		return err
	}
	_, err = b.flush()
	return err
}

func (b *Broker) makeSalt() error {
	var salt [4]byte
	rand.Read(salt[:])
	b.journal.salt = binary.BigEndian.Uint32(salt[:])
	if err := b.db.Set([]byte{prefixSalt}, salt[:], pebble.NoSync); err != nil {
		return err
	}
	_, err := b.flush()
	return err
}

// replay puts into Pebble what only the journal has, durably.
func (b *Broker) replay() error {
	if err := b.loadSalt(); err != nil {
		return err
	}
	if err := b.journal.settle(); err != nil {
		return err
	}
	stale, err := b.journal.load(func(payload []byte) error {
		batch := b.db.NewBatch()
		defer batch.Close()
		if err := batch.SetRepr(payload); err != nil {
			return err
		}
		return batch.Commit(pebble.NoSync)
	})
	if err != nil || !stale {
		return err
	}
	flushed, err := b.flush()
	if isFull(err) && b.journal.whole {
		b.journal.deferred(flushed)
		return nil
	}
	if err != nil {
		return err
	}
	return b.journal.end()
}

func (b *Broker) loadSalt() error {
	v, closer, err := b.reader.Get([]byte{prefixSalt})
	if err != nil {
		return fmt.Errorf("salt of the journal: %w", err)
	}
	defer closer.Close()
	if len(v) != 4 {
		return fmt.Errorf("salt of the journal has %d bytes", len(v))
	}
	b.journal.salt = binary.BigEndian.Uint32(v)
	return nil
}

// dropEmptyLogs removes the logs that Pebble makes, and does not use, each time it is
// opened. Until there is a journal Pebble's logs are what there is.
func dropEmptyLogs(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return nil // there is no store yet, or Pebble will say
	}
	var logs []string
	journal := false
	for _, name := range names {
		if journalNumber(name) > 0 {
			journal = true
		} else if strings.HasSuffix(name, ".log") {
			logs = append(logs, name)
		}
	}
	if !journal {
		return nil
	}
	for _, name := range logs {
		if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
