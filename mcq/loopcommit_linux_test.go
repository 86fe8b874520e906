package mcq

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// What a loop has gathered from all its connections is committed in groups of
// bounded size, as the committer does.
func TestLoopCommitsInGroups(t *testing.T) {
	b, err := Open("store", WithFS(&Options{Sync: Never}, vfs.NewMem()))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	q, err := b.Queue("q")
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	gather := func(n, size int) (ops []*op) {
		for range n {
			m := Message{Body: make([]byte, size)}
			ops = append(ops, setOp(q, &m, func(o *op) {
				if done++; o.err != nil {
					t.Error(o.err)
				}
				o.release()
			}))
		}
		return ops
	}
	l := &loop{srv: &Server{local: b}}
	for _, c := range []struct{ n, size, groups int }{{groupOps, 1, 1}, {groupOps + 1, 1, 2}, {40, groupBytes / 16, 3}} {
		before, still := uint64(0), true
		for ran := false; !ran; { // or the committer has something
			done, before = 0, b.groups.Load()
			ran = l.commit(gather(c.n, c.size), &still)
		}
		if groups := int(b.groups.Load() - before); groups != c.groups || done != c.n || !still {
			t.Errorf("%d messages of %d bytes: %d done in %d groups, want %d", c.n, c.size, done, groups, c.groups)
		}
	}
}
