package objstore_test

import (
	"path/filepath"
	"testing"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/objstoretest"
)

func TestPebbleStore(t *testing.T) {
	objstoretest.TestStore(t, func(t *testing.T) objstore.Store {
		s, err := objstore.OpenPebble(filepath.Join(t.TempDir(), "meta"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// A store that is opened again knows what is there.
func TestPebbleStoreReopened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "meta")
	key := func(n byte) []byte { return []byte{'r', 0, 0, 0, 1, 0, n} }
	for round := range byte(3) {
		s, err := objstore.OpenPebble(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 * (round + 1) {
			changes := []objstore.Change{{Row: objstore.Row{Key: key(n), Version: 1, Value: []byte("v")}}}
			if err := s.Commit(ctx, changes); err != nil {
				t.Fatal(err)
			}
			if exists := n < 3*round; exists != (changes[0].Err != nil) {
				t.Errorf("round %d, row %d: %v", round, n, changes[0].Err)
			}
		}
		if s.DiskBytes() == 0 {
			t.Error("no disk in use")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
