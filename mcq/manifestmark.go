package mcq

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A MANIFEST whose last edits are gone looks like one that never had them, and what
// they say is lost: the journal's groups that have become tables need not be there any
// more. So how much of the MANIFEST is on the disk is noted in a file besides, in two
// places that take turns:
//
//	sum of what follows 4, CRC-32C, little-endian like the others
//	number of the note 8
//	number of the MANIFEST 8
//	bytes of it that were synced 8
const (
	markName  = "manifest-synced"
	markSize  = 4 + 3*8
	markPlace = sector
)

// manifestMark says that the MANIFEST with a number had so many bytes at least.
type manifestMark struct {
	note, number, size uint64
}

// at is where in the file it stands.
func (m *manifestMark) at() int64 { return int64(m.note%2) * markPlace }

func (m *manifestMark) append(b []byte) []byte {
	begin := len(b)
	b = append(b, 0, 0, 0, 0)
	for _, n := range []uint64{m.note, m.number, m.size} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	binary.LittleEndian.PutUint32(b[begin:], crc32.Checksum(b[begin+4:], castagnoli))
	return b
}

func (m *manifestMark) parse(b []byte) bool {
	if len(b) < markSize || binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:markSize], castagnoli) {
		return false
	}
	*m = manifestMark{binary.LittleEndian.Uint64(b[4:]), binary.LittleEndian.Uint64(b[12:]), binary.LittleEndian.Uint64(b[20:])}
	return true
}

// readMarks reads the marks in dir. There is none, or are fewer, if they cannot be
// read: then there is less to compare with.
func readMarks(fs vfs.FS, dir string) (marks []manifestMark) {
	f, err := fs.Open(fs.PathJoin(dir, markName))
	if err != nil {
		return nil
	}
	defer f.Close()
	var b [markPlace + markSize]byte
	n, err := io.ReadFull(io.NewSectionReader(f, 0, int64(len(b))), b[:])
	if err != nil && err != io.ErrUnexpectedEOF {
		return nil
	}
	for at := 0; at < n; at += markPlace {
		var m manifestMark
		if m.parse(b[at:n]) {
			marks = append(marks, m)
		}
	}
	return marks
}

// checkMarks says whether the MANIFEST of that name, of which so many bytes can be
// read, is the one that was written last.
func checkMarks(marks []manifestMark, name string, readable int64) error {
	n, ok := manifestNumber(name)
	if !ok {
		return nil
	}
	for _, m := range marks {
		if m.number > n {
			return fmt.Errorf("there was a later one, MANIFEST-%06d", m.number)
		}
		if m.number == n && uint64(readable) < m.size {
			return fmt.Errorf("it can be read up to offset %d, and was on the disk up to %d", readable, m.size)
		}
	}
	return nil
}

func manifestNumber(name string) (uint64, bool) {
	s, ok := strings.CutPrefix(name, "MANIFEST-")
	n, err := strconv.ParseUint(s, 10, 64)
	return n, ok && err == nil
}

// marker writes marks.
type marker struct {
	fs  vfs.FS
	dir string

	mu    sync.Mutex
	last  manifestMark
	first manifestMark // the first sync of a MANIFEST, until it is known to be the one
	file  vfs.File
}

// synced notes that so many bytes of a MANIFEST are on the disk. Of a new one it is not
// known yet that it will be the MANIFEST: a crash may leave the one before as that. It
// is once it is synced again, or when current is called.
func (m *marker) synced(name string, size int64) error {
	n, ok := manifestNumber(name)
	if !ok {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n != m.first.number {
		m.first = manifestMark{number: n, size: uint64(size)}
		return nil
	}
	m.first.size = 0
	return m.noteLocked(n, uint64(size))
}

// current says that the MANIFEST that was synced last is the one.
func (m *marker) current() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.first.size == 0 {
		return nil
	}
	size := m.first.size
	m.first.size = 0
	return m.noteLocked(m.first.number, size)
}

func (m *marker) noteLocked(n, size uint64) error {
	if m.file == nil {
		for _, last := range readMarks(m.fs, m.dir) {
			if last.note > m.last.note {
				m.last = last
			}
		}
		f, err := m.fs.OpenReadWrite(m.fs.PathJoin(m.dir, markName), vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		m.file = f
	}
	m.last = manifestMark{m.last.note + 1, n, size}
	if _, err := m.file.WriteAt(m.last.append(nil), m.last.at()); err != nil {
		return err
	}
	return m.file.SyncData()
}

func (m *marker) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil
	}
	err := m.file.Close()
	m.file = nil
	return err
}
