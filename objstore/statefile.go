package objstore

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/heddle-go/heddle/internal/disk"
)

// stateFile keeps a generator's mark: one line of text with a checksum,
// replaced as a whole.
type stateFile struct {
	name string
	lock *disk.Lock
}

const (
	stateFormat  = "heddle-ids 1 mark=%016x"
	stateMaxSize = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func formatState(mark int64) []byte {
	line := fmt.Sprintf(stateFormat, mark)
	return fmt.Appendf(nil, "%s crc32c=%08x\n", line, crc32.Checksum([]byte(line), castagnoli))
}

func parseState(b []byte) (int64, error) {
	var mark int64
	if _, err := fmt.Sscanf(string(b), stateFormat, &mark); err != nil || string(formatState(mark)) != string(b) {
		return 0, errors.New("damaged or not a state file of ids")
	}
	if mark < 0 || mark > 1<<(secondBits+sequenceBits) {
		return 0, errors.New("mark out of range")
	}
	return mark, nil
}

// openStateFile locks the file and reads the mark: 0 if there is no file yet.
func openStateFile(name string) (*stateFile, int64, error) {
	fail := func(err error) (*stateFile, int64, error) {
		return nil, 0, fmt.Errorf("objstore: id state file %s: %w", name, err)
	}
	lock, err := disk.TryLock(name + ".lock")
	if err != nil {
		return fail(err)
	}
	s := &stateFile{name: name, lock: lock}
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return s, 0, nil
	}
	if err != nil {
		_ = s.close()
		return fail(err)
	}
	b, err := io.ReadAll(io.LimitReader(f, stateMaxSize+1))
	_ = f.Close()
	var mark int64
	if err == nil {
		mark, err = parseState(b)
	}
	if err != nil {
		_ = s.close()
		return fail(err)
	}
	return s, mark, nil
}

func (s *stateFile) write(mark int64) error { return disk.WriteFile(s.name, formatState(mark)) }

func (s *stateFile) close() error { return s.lock.Unlock() }
