package ketama_test

import (
	"fmt"
	"testing"

	"github.com/heddle-go/heddle/ssdcache/internal/ketama"
)

func all(int) bool { return true }

func addrs(n int) (a []string) {
	for i := range n {
		a = append(a, fmt.Sprintf("10.0.0.%d:11211", i+1))
	}
	return a
}

func TestPlacement(t *testing.T) {
	const keys = 20_000
	r, more := ketama.New(addrs(5)), ketama.New(addrs(6))
	count := make([]int, 5)
	moved, lost := 0, 0
	for i := range keys {
		k := fmt.Sprint("key-", i)
		home := r.Pick(k, all)
		count[home]++
		if n := more.Pick(k, all); n != home {
			if n != 5 {
				t.Fatalf("%s moved from %d to %d when 5 came", k, home, n)
			}
			moved++
		}
		// Without node 2 its keys go elsewhere, and only they.
		without := r.Pick(k, func(n int) bool { return n != 2 })
		if without == 2 || home != 2 && without != home {
			t.Fatalf("%s went from %d to %d when 2 was gone", k, home, without)
		}
		if home == 2 {
			lost++
		}
	}
	for n, c := range count {
		if c < keys/5/2 || c > keys/5*2 {
			t.Errorf("node %d has %d of %d keys", n, c, keys)
		}
	}
	if moved < keys/6/2 || moved > keys/6*2 || lost != count[2] {
		t.Errorf("%d moved to the new node, %d from the lost one", moved, lost)
	}
	if r.Pick("k", func(int) bool { return false }) != -1 || ketama.New(nil).Pick("k", all) != -1 {
		t.Error("a node out of nothing")
	}
}
