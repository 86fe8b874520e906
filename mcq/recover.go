package mcq

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// foundGroup is a group in a file of the journal.
type foundGroup struct {
	groupHead
	name string
	file vfs.File
	at   int64
}

// settle has the disk know what the system knows of the journal, which after a kill may
// be more. Until it does, tables must not have what is read there, nor must files be
// written again.
func (j *journal) settle() error {
	names, err := j.files()
	if err != nil {
		return err
	}
	for _, name := range names {
		file, err := j.fs.OpenReadWrite(j.path(name), vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

// load finds the files of the journal, and in them the groups that tables may not
// have, and gives these to apply in their order, each for apply to keep. Tables may
// have some of them, as what is known of that is told later than it is so; applied again
// in order, up to the last one that tables can have, they change nothing.
//
// What is behind a gap is left out if the disk may have lost the group that is missing;
// if it cannot, that group had been promised, and it is an error. If stale is true
// tables have to get all that was applied, and end has to be called, before anything is
// appended.
func (j *journal) load(apply func(payload []byte) error) (stale bool, err error) {
	names, err := j.files()
	if err != nil {
		return false, err
	}
	var groups []foundGroup
	for _, name := range names {
		file, err := j.fs.Open(j.path(name))
		if err != nil {
			return false, err
		}
		defer file.Close()
		if groups, err = j.find(name, file, groups); err != nil {
			return false, fmt.Errorf("file %s: %w", j.path(name), err)
		}
	}
	if j.last == 0 { // there is one from the beginning, and one stays when files are written again
		return false, fmt.Errorf("damaged or missing journal: no group can be read in the files %s*%s, of which there are %d", j.path(journalPrefix), journalSuffix, len(names))
	}
	j.recorded.Store(j.flushed)
	slices.SortStableFunc(groups, func(a, b foundGroup) int { return cmp.Compare(a.number, b.number) })
	next := j.flushed + 1
	for i := range groups {
		g := &groups[i]
		if g.number < next {
			continue
		}
		if g.number > next {
			return true, j.gap(next, groups, i)
		}
		payload, err := j.read(g)
		if err == nil && len(payload) > 0 {
			err = apply(payload)
		}
		if err != nil {
			return false, fmt.Errorf("file %s, group at offset %d: %w", j.path(g.name), g.at, err)
		}
		next++
	}
	j.whole = true
	return len(groups) > 0, nil
}

// deferred ends what load has begun if tables cannot be written yet, and will have all
// that it applied when flushed is closed: groups go on where those end that were found,
// in another file. That needs them to be whole.
func (j *journal) deferred(flushed <-chan struct{}) {
	for _, f := range j.used {
		f.done = flushed
	}
	j.written.Store(j.last)
	j.synced.Store(j.last)
	j.told.Store(j.flushed)
}

// files are the names of the journal's files.
func (j *journal) files() (names []string, err error) {
	all, err := j.fs.List(j.dir)
	if err != nil {
		return nil, err
	}
	for _, name := range all {
		if n := journalNumber(name); n > 0 {
			names = append(names, name)
			j.names = max(j.names, n)
		}
	}
	return names, nil
}

// journalNumber is the number in the name of a file, 0 if it is none of the journal's.
func journalNumber(name string) int {
	s, ok := strings.CutPrefix(name, journalPrefix)
	s, ok2 := strings.CutSuffix(s, journalSuffix)
	n, err := strconv.Atoi(s)
	if !ok || !ok2 || err != nil || n < 1 || name != journalName(n) {
		return 0
	}
	return n
}

// find notes what the groups in a file say, and appends those that are whole and that
// tables may not have, which it removes from the others too.
func (j *journal) find(name string, file vfs.File, groups []foundGroup) ([]foundGroup, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(io.NewSectionReader(file, 0, info.Size()), data); err != nil {
		return nil, err
	}
	f := &journalFile{name: name, done: closed}
	j.used = append(j.used, f)
	for at := 0; at < len(data); {
		var h groupHead
		if !h.parse(data[at:], j.salt) || h.payload(data[at:], j.salt) == nil {
			// Zeros, or what an earlier use or an unfinished write has left.
			at = nextGroup(data, at+groupAlign)
			continue
		}
		j.flushed = max(j.flushed, h.flushed)
		j.last, f.last = max(j.last, h.number), max(f.last, h.number)
		if h.number > j.flushed {
			groups = append(groups, foundGroup{h, name, file, int64(at)})
		}
		at += groupSize(h.length)
	}
	return slices.DeleteFunc(groups, func(g foundGroup) bool { return g.number <= j.flushed }), nil
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// nextGroup is where, from offset at on, a group may begin.
func nextGroup(data []byte, at int) int {
	for at < len(data) {
		i := bytes.Index(data[at:], []byte(groupMagic))
		if i < 0 {
			break
		}
		if at += i; at%groupAlign == 0 {
			return at
		}
		at++
	}
	return len(data)
}

// gap tells what it means that a group is missing before groups[i].
func (j *journal) gap(number uint64, groups []foundGroup, i int) error {
	for _, g := range groups[i:] {
		if g.synced < number {
			continue
		}
		in := groups[i] // the file where the missing one was
		if i > 0 && in.at == 0 {
			in = groups[i-1]
		}
		return fmt.Errorf("damaged file %s: group %d cannot be read, but was on the disk when group %d, at offset %d of %s, was written",
			j.path(in.name), number, g.number, g.at, g.name)
	}
	return nil
}

// read reads a group again.
func (j *journal) read(g *foundGroup) ([]byte, error) {
	data := make([]byte, groupHeadSize+g.length)
	if _, err := g.file.ReadAt(data, g.at); err != nil && err != io.EOF {
		return nil, err
	}
	var h groupHead
	if h.parse(data, j.salt) && h == g.groupHead {
		if payload := h.payload(data, j.salt); payload != nil {
			return payload, nil
		}
	}
	return nil, errors.New("it has changed since it was read")
}
