// Package objstoretest checks the engines of an objstore Library: what keeps
// the rules of objstore.Store or objstore.Content passes.
package objstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/heddle-go/heddle/objstore"
)

// TestStore checks a Store. open returns one that holds nothing; the test
// closes it.
func TestStore(t *testing.T, open func(t *testing.T) objstore.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, store)
	}{
		{"Condition", testCondition},
		{"SameRow", testSameRow},
		{"Rising", testRising},
		{"Entries", testEntries},
		{"Scan", testScan},
		{"ManyKeys", testManyKeys},
		{"Values", testValues},
		{"Race", testRace},
		{"BadKeys", testBadKeys},
		{"Callbacks", testCallbacks},
		{"Context", testContext},
		{"Closed", testClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			test.run(t, store{s})
		})
	}
}

// store is a Store with the calls as a test writes them.
type store struct{ objstore.Store }

func row(key string, version uint64, value string) objstore.Row {
	return objstore.Row{Key: []byte(key), Version: version, Value: []byte(value)}
}

// set is a change that takes a row from one version to the next.
func set(key string, expect uint64, value string) objstore.Change {
	return objstore.Change{Row: row(key, expect+1, value), Expect: expect}
}

// apply commits and returns the error of each change.
func (s store) apply(t testing.TB, changes ...objstore.Change) []error {
	t.Helper()
	if err := s.Commit(context.Background(), changes); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	errs := make([]error, len(changes))
	for i := range changes {
		errs[i] = changes[i].Err
		if errs[i] != nil && !errors.Is(errs[i], objstore.ErrConflict) {
			t.Fatalf("Change.Err of %d is %v", i, errs[i])
		}
	}
	return errs
}

// get returns rows as text, "" for those that are not there.
func (s store) get(t testing.TB, keys ...string) []string {
	t.Helper()
	bkeys := make([][]byte, len(keys))
	for i, k := range keys {
		bkeys[i] = []byte(k)
	}
	got := make([]string, len(keys))
	err := s.Get(context.Background(), bkeys, func(i int, r objstore.Row) error {
		if string(r.Key) != keys[i] {
			return fmt.Errorf("row %q for key %q", r.Key, keys[i])
		}
		got[i] = fmt.Sprintf("%d %s", r.Version, r.Value)
		return nil
	})
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return got
}

func (s store) scan(t testing.TB, r objstore.Range) []string {
	t.Helper()
	var got []string
	err := s.Scan(context.Background(), r, func(r objstore.Row) error {
		got = append(got, string(r.Key))
		return nil
	})
	if err != nil {
		t.Fatalf("Scan: %v", err)
	}
	return got
}

func want[T comparable](t testing.TB, got []T, want ...T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func testCondition(t *testing.T, s store) {
	want(t, s.apply(t, set("a", 0, "one")), nil)
	want(t, s.apply(t, set("a", 0, "other")), objstore.ErrConflict)
	want(t, s.apply(t, set("a", 2, "other")), objstore.ErrConflict)
	want(t, s.get(t, "a"), "1 one")
	want(t, s.apply(t, set("a", 1, "two")), nil)
	want(t, s.apply(t, set("a", 1, "other")), objstore.ErrConflict)
	want(t, s.get(t, "a"), "2 two")

	remove := objstore.Change{Row: objstore.Row{Key: []byte("a")}, Expect: 1}
	want(t, s.apply(t, remove), objstore.ErrConflict)
	remove.Expect = 2
	want(t, s.apply(t, remove), nil)
	want(t, s.get(t, "a"), "")
	want(t, s.apply(t, remove), objstore.ErrConflict)
	want(t, s.apply(t, objstore.Change{Row: row("a", 1<<63+5, "back")}), nil)
	want(t, s.get(t, "a"), "9223372036854775813 back")
}

// The changes of one Commit to a row take place in their order.
func testSameRow(t *testing.T, s store) {
	want(t, s.apply(t, set("a", 0, "one"), set("b", 0, "b"), set("a", 1, "two"), set("a", 1, "no"), set("a", 2, "three")),
		nil, nil, nil, objstore.ErrConflict, nil)
	want(t, s.get(t, "a", "b"), "3 three", "1 b")
	want(t, s.apply(t, objstore.Change{Row: objstore.Row{Key: []byte("a")}, Expect: 3}, set("a", 0, "again")), nil, nil)
	want(t, s.get(t, "a"), "1 again")
}

// Records come mostly in the order of their keys; what an engine makes of that
// must not keep it from seeing what is there.
func testRising(t *testing.T, s store) {
	key := func(n int) string { return fmt.Sprintf("r\x00\x00\x00\x01\x00number%02d", n) }
	for _, n := range []int{5, 6, 9, 7, 10} {
		want(t, s.apply(t, set(key(n), 0, "one")), nil)
		want(t, s.apply(t, set(key(n), 0, "two")), objstore.ErrConflict)
	}
	want(t, s.apply(t, set(key(12), 0, "a"), set(key(11), 0, "b"), set(key(12), 1, "c"), set(key(12), 0, "no")), nil, nil, nil, objstore.ErrConflict)
	want(t, s.apply(t, objstore.Change{Put: []objstore.Row{row(key(20), 0, "entry")}}), nil)
	want(t, s.apply(t, set(key(20), 1, "no")), objstore.ErrConflict)
	want(t, s.apply(t, objstore.Change{Row: objstore.Row{Key: []byte(key(12))}, Expect: 2}), nil)
	want(t, s.apply(t, set(key(12), 2, "no"), set(key(12), 0, "back")), objstore.ErrConflict, nil)
	want(t, s.get(t, key(12), key(20)), "1 back", "0 entry")
}

func testEntries(t *testing.T, s store) {
	c := set("a", 0, "one")
	c.Put = []objstore.Row{row("i/1", 0, ""), row("i/2", 0, "x")}
	want(t, s.apply(t, c), nil)
	want(t, s.get(t, "a", "i/1", "i/2"), "1 one", "0 ", "0 x")

	c = set("a", 0, "two")
	c.Put = []objstore.Row{row("i/3", 0, "")}
	c.Delete = [][]byte{[]byte("i/1")}
	want(t, s.apply(t, c), objstore.ErrConflict)
	if got := s.get(t, "a", "i/1"); got[0] != "1 one" || got[1] != "0 " {
		t.Errorf("a change whose condition failed left %q", got)
	}

	c = set("a", 1, "two")
	c.Delete = [][]byte{[]byte("i/1"), []byte("i/absent")}
	want(t, s.apply(t, c), nil)
	want(t, s.get(t, "a", "i/1", "i/2"), "2 two", "", "0 x")

	// Without a row there is no condition.
	want(t, s.apply(t, objstore.Change{Put: []objstore.Row{row("i/2", 0, "y")}, Delete: [][]byte{[]byte("i/9")}}), nil)
	want(t, s.get(t, "i/2"), "0 y")
	want(t, s.apply(t), []error{}...)
}

func testScan(t *testing.T, s store) {
	var changes []objstore.Change
	for _, k := range []string{"b\x00", "b", "a", "c", "b\xff\xff", "\xff", "b\x00\x01", "d"} {
		changes = append(changes, set(k, 0, "v"))
	}
	s.apply(t, changes...)
	all := []string{"a", "b", "b\x00", "b\x00\x01", "b\xff\xff", "c", "d", "\xff"}
	want(t, s.scan(t, objstore.Range{}), all...)
	want(t, s.scan(t, objstore.Range{From: []byte("b"), To: []byte("c")}), all[1:5]...)
	want(t, s.scan(t, objstore.Range{From: []byte("b\x00"), To: []byte("d")}), all[2:6]...)
	want(t, s.scan(t, objstore.Range{From: []byte("bb"), Limit: 2}), "b\xff\xff", "c")
	want(t, s.scan(t, objstore.Range{From: []byte("b"), To: []byte("b")}), []string{}...)
	want(t, s.scan(t, objstore.Range{From: []byte("e"), To: []byte("f")}), []string{}...)
	slices.Reverse(all)
	want(t, s.scan(t, objstore.Range{Reverse: true}), all...)
	want(t, s.scan(t, objstore.Range{From: []byte("b"), To: []byte("c"), Reverse: true}), all[3:7]...)
	want(t, s.scan(t, objstore.Range{To: []byte("b\x01"), Reverse: true, Limit: 2}), "b\x00\x01", "b\x00")
}

func testManyKeys(t *testing.T, s store) {
	var changes []objstore.Change
	var keys, wanted []string
	for i := range 200 {
		k := fmt.Sprintf("k%03d", (i*37)%200)
		keys = append(keys, k)
		if i%3 == 0 {
			wanted = append(wanted, "")
			continue
		}
		changes = append(changes, set(k, 0, k))
		wanted = append(wanted, "1 "+k)
	}
	keys, wanted = append(keys, keys[1], keys[1]), append(wanted, wanted[1], wanted[1])
	s.apply(t, changes...)
	want(t, s.get(t, keys...), wanted...)
	want(t, s.get(t), []string{}...)
}

func testValues(t *testing.T, s store) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	long := bytes.Repeat(all, 4096) // 1 MiB
	key := "k" + string(all) + string(all[:200])
	s.apply(t, set(key, 0, string(long)), set("empty", 0, ""))
	if got := s.get(t, key, "empty"); got[0] != "1 "+string(long) || got[1] != "1 " {
		t.Errorf("a value of 1 MiB came back with %d bytes, an empty one as %q", len(got[0])-2, got[1])
	}
	want(t, s.scan(t, objstore.Range{From: []byte("k")}), key)
}

// Of many that change a row at once from the same version, one succeeds.
func testRace(t *testing.T, s store) {
	const workers, rounds = 8, 20
	var mu sync.Mutex
	won := make(map[uint64]int)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for version := uint64(0); version < rounds; {
				c := set("a", version, fmt.Sprint(w))
				c.Put = []objstore.Row{row(fmt.Sprintf("e%03d", version), 0, fmt.Sprint(w))}
				changes := []objstore.Change{c}
				if err := s.Commit(context.Background(), changes); err != nil {
					t.Error(err)
					return
				}
				if changes[0].Err == nil {
					mu.Lock()
					won[version]++
					mu.Unlock()
				}
				version++
			}
		})
	}
	wg.Wait()
	for version, n := range won {
		if n != 1 {
			t.Errorf("version %d was changed %d times", version, n)
		}
	}
	if len(won) == 0 || won[0] != 1 {
		t.Errorf("won: %v", won)
	}
	want(t, []int{len(s.scan(t, objstore.Range{From: []byte("e"), To: []byte("f")}))}, len(won))
}

func testBadKeys(t *testing.T, s store) {
	ctx := context.Background()
	long := make([]byte, objstore.MaxKey+1)
	for _, c := range []objstore.Change{
		{Row: objstore.Row{Key: []byte{}, Value: []byte("v")}},
		{Row: objstore.Row{Key: long, Value: []byte("v")}},
		{Put: []objstore.Row{{Key: long}}},
		{Put: []objstore.Row{{}}},
		{Delete: [][]byte{nil}},
	} {
		if err := s.Commit(ctx, []objstore.Change{set("good", 0, "v"), c}); err == nil {
			t.Errorf("Commit took a key of %d bytes", len(c.Row.Key))
		}
	}
	want(t, s.apply(t, objstore.Change{Row: objstore.Row{Key: long[:objstore.MaxKey], Version: 1, Value: []byte("v")}}), nil)
}

func testCallbacks(t *testing.T, s store) {
	s.apply(t, set("a", 0, "1"), set("b", 0, "2"))
	ctx, mine := context.Background(), errors.New("mine")
	calls := 0
	stop := func(objstore.Row) error { calls++; return mine }
	if err := s.Scan(ctx, objstore.Range{}, stop); err != mine || calls != 1 {
		t.Errorf("Scan: %v after %d calls", err, calls)
	}
	calls = 0
	err := s.Get(ctx, [][]byte{[]byte("a"), []byte("b")}, func(_ int, r objstore.Row) error { return stop(r) })
	if err != mine || calls != 1 {
		t.Errorf("Get: %v after %d calls", err, calls)
	}
}

func testContext(t *testing.T, s store) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	none := func(objstore.Row) error { return nil }
	if err := s.Get(ctx, [][]byte{[]byte("a")}, func(int, objstore.Row) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	s.apply(t, set("a", 0, "1"))
	if err := s.Scan(ctx, objstore.Range{}, none); !errors.Is(err, context.Canceled) {
		t.Errorf("Scan: %v", err)
	}
	if err := s.Commit(ctx, []objstore.Change{set("a", 1, "2")}); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v", err)
	}
}

func testClosed(t *testing.T, s store) {
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := s.Get(ctx, [][]byte{[]byte("a")}, func(int, objstore.Row) error { return nil }); !errors.Is(err, objstore.ErrClosed) {
		t.Errorf("Get: %v", err)
	}
	if err := s.Scan(ctx, objstore.Range{}, func(objstore.Row) error { return nil }); !errors.Is(err, objstore.ErrClosed) {
		t.Errorf("Scan: %v", err)
	}
	if err := s.Commit(ctx, nil); !errors.Is(err, objstore.ErrClosed) {
		t.Errorf("Commit: %v", err)
	}
}
