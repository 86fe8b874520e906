package mcq

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A store is a directory of Pebble's, without logs, the files of the journal, a note of
// how much of the list of tables is on the disk (manifestmark.go), and space that is
// reserved (reserve.go).
//
// The store's keys. Numbers are big-endian, so that keys sort like them.
//
//	n name       → id 4            the queues
//	c id         → progress        what has been acknowledged
//	m id seq 8   → record          the messages
//	d id ms 8 seq 8 →              messages that wait for their time
//	i id ms 8 seq 8 → key          keys of the messages put last
//	h id seq 8   → uvarint         how often a message has been handed out, where that is recorded
//	t id         → tally           what expired, was discarded, buried, or put twice
//	f            → format, 1 or 2
//	j            → salt 4 of the journal
//	o            → uvarint         how often the store was opened, from 1 to 127 and again
//	e            →                 it has been closed since
//
// The id of a subscriber is followed by the number of its first message, 8.
const (
	prefixName   = 'n'
	prefixCursor = 'c'
	prefixRecord = 'm'
	prefixDelay  = 'd'
	prefixSeen   = 'i'
	prefixHanded = 'h'
	prefixTally  = 't'
	prefixFormat = 'f'
	prefixOpens  = 'o'
	prefixClosed = 'e'
	prefixSalt   = 'j'

	storeFormat = 2
	pebbleLogs  = 1 // the format in which the log was Pebble's
)

func nameKey(name string) []byte { return append([]byte{prefixName}, name...) }

func cursorKey(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{prefixCursor}, id) }

const recordKeyLen = 1 + 4 + 8

func appendRecordKey(b []byte, id uint32, seq uint64) []byte {
	b = binary.BigEndian.AppendUint32(append(b, prefixRecord), id)
	return binary.BigEndian.AppendUint64(b, seq)
}

func recordKey(id uint32, seq uint64) []byte {
	return appendRecordKey(make([]byte, 0, recordKeyLen), id, seq)
}

// logEnd is behind all keys of a log's records.
func logEnd(id uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixRecord}, id+1)
}

// tableBlock is what is read of a table at a time. Messages are read one after the
// other, so that of blocks of 4 KiB, the default, most of the cost is that of blocks.
const tableBlock = 32 << 10

func storeOptions(o *Options, log pebble.Logger) *pebble.Options {
	popts := &pebble.Options{
		FS:         o.fs,
		DisableWAL: true, // the journal is the log
		// What is consumed soon is covered by range deletions while still in the
		// memtable, and never reaches a table. A memtable has room for what a file of
		// the journal has, and for what it takes besides.
		MemTableSize:                24 << 20,
		MemTableStopWritesThreshold: journalMost + 2, // the journal sees to it that it is not reached
		// Keys come in order, so that tables hardly overlap (see cuts) and there is
		// little to gain by writing them again.
		L0CompactionThreshold: 64,
		L0StopWritesThreshold: 256,
		// Nor does it matter how many there are.
		L0CompactionFileThreshold: 4000,
		TargetFileSizes:           [7]int64{32 << 20, 4 << 20, 8 << 20, 16 << 20, 32 << 20, 64 << 20, 128 << 20},
		LBaseMaxBytes:             256 << 20,
		FlushDelayDeleteRange:     2 * time.Second,
		FormatMajorVersion:        pebble.FormatNewest,
		Logger:                    log,
		EventListener: &pebble.EventListener{
			// Who reads gets the error; without this the process would end.
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				o.Logger.Error("mcq: damaged store", "path", info.Path, "error", info.Details.Error())
			},
		},
	}
	// What is removed as tables would wait in Pebble's log, which there is not.
	popts.Experimental.DisableIngestAsFlushable = func() bool { return true }
	for i := range popts.Levels {
		popts.Levels[i].BlockSize = tableBlock
	}
	return popts
}

// storeLogger passes on what is wrong and leaves out progress. Pebble calls
// Fatalf, which must not return, when it cannot write its log or its list of
// tables. Where that happens on a goroutine of ours, guard turns it into the
// error that poisons the broker; on one of Pebble's own it ends the process,
// which must not go on as if what was promised could be kept.
type storeLogger struct {
	b   *Broker
	log *slog.Logger
}

func (l storeLogger) Infof(string, ...any) {}

func (l storeLogger) Errorf(format string, args ...any) {
	l.log.Error("mcq: " + fmt.Sprintf(format, args...))
}

func (l storeLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("mcq: "+format, args...)
	l.b.fail(err)
	panic(err)
}
