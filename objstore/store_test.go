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
