package mcq_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

func TestCheck(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := mcq.WithFS(&mcq.Options{Logger: silent}, fs)
	if _, err := mcq.Check("store", opts); err == nil || !strings.Contains(err.Error(), "no store here") {
		t.Fatalf("check of nothing: %v", err)
	}
	b := openBroker(t, "store", opts)
	q := queue(t, b, "q")
	queue(t, b, "q+s")
	for range 100 {
		put(t, q, strings.Repeat("x", 1000))
	}
	msgs := lease(t, q, 10, mcq.LeaseOptions{})
	if err := q.Ack(t.Context(), msgs[0].ID, msgs[5].ID); err != nil {
		t.Fatal(err)
	}
	put(t, queue(t, b, "other"), "y", "z")
	if _, err := queue(t, b, "other").Take(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := mcq.Check("store", opts); err == nil {
		t.Error("checked a store that is open")
	}
	rnd := rand.New(rand.NewPCG(7, 8))
	crashed := crashClone(fs, 0, rnd)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for _, store := range []*vfs.MemFS{fs, crashed} {
		r, err := mcq.Check("store", mcq.WithFS(&mcq.Options{Logger: silent}, store))
		if err != nil {
			t.Fatal(err)
		}
		want := []mcq.QueueReport{{Name: "other", Put: 2, Done: 1}, {Name: "q", Put: 100, Done: 2}, {Name: "q+s", Put: 100}}
		if !slices.Equal(r.Queues, want) || r.Messages != 102 || r.Bytes != 100_002 || r.Consumed != 1 || len(r.Damage) != 0 {
			t.Fatalf("report %+v", r)
		}
	}
	// Flipped bits in the tables are found.
	files, err := fs.List("store")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if !strings.HasSuffix(file, ".sst") {
			continue
		}
		data := readFile(t, fs, "store/"+file)
		for range 10 {
			damaged := slices.Clone(data)
			damaged[rnd.IntN(len(data))] ^= 0x10
			victim := crashClone(fs, 100, rnd)
			writeFile(t, victim, "store/"+file, damaged)
			r, err := mcq.Check("store", mcq.WithFS(&mcq.Options{Logger: silent}, victim))
			if err != nil || len(r.Damage) > 0 {
				found++
			}
		}
	}
	if found < 5 {
		t.Errorf("%d damages were found", found)
	}
	dir := t.TempDir()
	openBroker(t, dir, nil)
	if _, err := mcq.Check(dir, nil); !errors.Is(err, mcq.ErrLocked) {
		t.Errorf("check of a store in use: %v", err)
	}
	if _, err := mcq.Check(t.TempDir(), nil); err == nil {
		t.Error("check of an empty directory")
	}
}
