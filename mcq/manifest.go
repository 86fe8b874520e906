package mcq

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A MANIFEST is Pebble's list of files, a log of edits in chunks: checksum 4, length
// 2, type 1, then that much of an edit. A chunk lies within a block.
const (
	chunkHeader = 7
	chunkBlock  = 32 << 10

	chunkFull  = 1 // an edit
	chunkFirst = 2 // an edit's first part
	chunkLast  = 4

	// sector is what a disk writes as a whole.
	sector = 512
)

// checkManifest says what is wrong with the list of files that f holds. Pebble takes
// what it cannot read, and everything after it, for an edit that a crash cut short,
// and removes the tables and logs that no edit names. But each edit is synced before
// what it makes superfluous is removed and before the next is written, so that only
// the last one may be cut, and cut it must look.
func checkManifest(f vfs.File) (readable int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	edits := record.NewReader(io.NewSectionReader(f, 0, size), 0)
	for {
		at := edits.Offset()
		edit, err := edits.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, edit)
		}
		switch {
		case err == nil:
			continue
		case err == io.EOF && at > 0:
			return at, nil
		case err != io.EOF && !record.IsInvalidRecord(err):
			return 0, err
		case at == 0: // synced before the file was named the list
			return 0, fmt.Errorf("the first of its edits, at offset 0, cannot be read")
		}
		tail := manifestTail{make([]byte, size-at), at}
		if _, err := f.ReadAt(tail.data, at); err != nil {
			return 0, err
		}
		return at, tail.check()
	}
}

// manifestTail is a MANIFEST from the first edit on that cannot be read.
type manifestTail struct {
	data []byte
	base int64 // where that is in the file
}

// check returns nil if all that is there is one edit that a crash cut short.
func (m manifestTail) check() error {
	at := m.next(0)
	for n := m.chunk(at); n > 0; n = m.chunk(at) {
		at = m.next(at + n)
	}
	if follows := m.follows(at); follows > 0 {
		return fmt.Errorf("the edit at offset %d cannot be read, and another follows at %d", m.base+int64(at), m.base+int64(follows))
	}
	if m.torn(at) {
		return nil
	}
	return fmt.Errorf("the edit at offset %d has the wrong checksum", m.base+int64(at))
}

// follows returns where an edit begins after the damaged chunk at offset at, or 0.
// The length of that chunk may be wrong, so that in its block an edit may begin
// anywhere; the blocks after it begin with a chunk.
func (m manifestTail) follows(at int) int {
	i, begin := at+1, at+m.block(at)
	for i < len(m.data) {
		n := 0
		if i >= begin || len(m.data)-i >= chunkHeader && (m.data[i+6] == chunkFull || m.data[i+6] == chunkFirst) {
			n = m.chunk(i)
		}
		switch {
		case n > 0 && m.data[i+6] <= chunkFirst:
			return i
		case n > 0:
			i = m.next(i + n)
		case i < begin:
			i++
		default:
			i += m.block(i)
		}
	}
	return 0
}

// next is where the chunk is whose predecessor ends at offset at: a block's end that
// holds no header is left empty.
func (m manifestTail) next(at int) int {
	if left := m.block(at); left < chunkHeader {
		return at + left
	}
	return at
}

// block returns how much of at's block is left.
func (m manifestTail) block(at int) int {
	return chunkBlock - int((m.base+int64(at))%chunkBlock)
}

// chunk returns the length of the chunk at offset at, 0 if there is no whole one.
func (m manifestTail) chunk(at int) int {
	if len(m.data)-at < chunkHeader {
		return 0
	}
	n := chunkHeader + int(binary.LittleEndian.Uint16(m.data[at+4:]))
	if kind := m.data[at+6]; kind < chunkFull || kind > chunkLast || n > min(m.block(at), len(m.data)-at) || !m.sums(at, at+n) {
		return 0
	}
	return n
}

// sums tells whether the checksum of the chunk at offset at holds if it ends at end.
func (m manifestTail) sums(at, end int) bool {
	sum := crc32.Checksum(m.data[at+6:end], castagnoli)
	return binary.LittleEndian.Uint32(m.data[at:]) == bits.RotateLeft32(sum, -15)+0xa282ead8 // as LevelDB masks them
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// torn tells whether the chunk at offset at, the last, looks as if a crash had cut
// it: it ends too soon, though not with its checksum right, which only a wrong length
// explains, or some of it never reached the disk.
func (m manifestTail) torn(at int) bool {
	data := m.data[min(at, len(m.data)):]
	if len(data) < chunkHeader || zero(data) {
		return true
	}
	for begin := at; begin < len(m.data); {
		end := min(begin+sector-int((m.base+int64(begin))%sector), len(m.data))
		if end-begin >= 4 && zero(m.data[begin:end]) { // of fewer zeros there may be many
			return true
		}
		begin = end
	}
	n, kind := chunkHeader+int(binary.LittleEndian.Uint16(data[4:])), data[6]
	return kind >= chunkFull && kind <= chunkLast && n > len(data) && n <= m.block(at) && !m.sums(at, len(m.data))
}

func zero(data []byte) bool {
	for _, b := range data {
		if b != 0 {
			return false
		}
	}
	return true
}
