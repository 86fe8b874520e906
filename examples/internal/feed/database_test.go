package feed

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// onEachDatabase runs f on an empty database of each kind.
func onEachDatabase(t *testing.T, f func(t *testing.T, db Database)) {
	t.Run("pebble", func(t *testing.T) { f(t, openTestPebble(t)) })
	t.Run("mysql", func(t *testing.T) { f(t, openTestMySQL(t)) })
}

func openTestPebble(t testing.TB) Database {
	t.Helper()
	db, err := openPebble(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func openTestMySQL(t testing.TB) Database {
	t.Helper()
	address := os.Getenv("HEDDLE_TEST_MYSQL")
	if address == "" {
		t.Skip("HEDDLE_TEST_MYSQL is not set: start MariaDB or MySQL, create an empty database, and set it to mysql://user:password@host:port/database")
	}
	db, err := openMySQL(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, table := range []string{"statuses", "firsts", "aliases"} {
		if _, err := db.db.Exec("DELETE FROM " + table); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func mustAdd(t *testing.T, db Database, want int, statuses ...Status) {
	t.Helper()
	if n, err := db.Add(t.Context(), statuses); n != want || err != nil {
		t.Fatalf("Add = %d, %v, want %d", n, err, want)
	}
}

func TestTimelineIsNewestFirstAndPaged(t *testing.T) {
	onEachDatabase(t, timelineIsNewestFirstAndPaged)
}

func timelineIsNewestFirstAndPaged(t *testing.T, db Database) {
	for id := int64(1); id <= 25; id++ {
		mustAdd(t, db, 1, Status{ID: id, UID: 7, Text: fmt.Sprint("post ", id)})
	}
	mustAdd(t, db, 1, Status{ID: 26, UID: 8, Text: "somebody else"})
	want := int64(25)
	for maxID := int64(0); ; {
		list, err := db.Timeline(t.Context(), 7, maxID, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if s.ID != want || s.UID != 7 || s.Text != fmt.Sprint("post ", want) {
				t.Fatalf("got %+v, want post %d of user 7", s, want)
			}
			want--
		}
		if len(list) < 10 {
			break
		}
		maxID = list[9].ID - 1
	}
	if want != 0 {
		t.Errorf("%d posts missing", want)
	}
}

func TestAddTwiceChangesNothing(t *testing.T) { onEachDatabase(t, addTwiceChangesNothing) }

func addTwiceChangesNothing(t *testing.T, db Database) {
	s := Status{ID: 5, UID: 7, Text: "once", Key: "k"}
	mustAdd(t, db, 1, s)
	mustAdd(t, db, 0, s)                                                                  // delivered again
	mustAdd(t, db, 0, Status{ID: 6, UID: 7, Text: "once", Key: "k"})                      // posted again
	mustAdd(t, db, 1, Status{ID: 8, UID: 9, Text: "another user's", Key: "k"})            // same key, other user
	mustAdd(t, db, 1, Status{ID: 10, UID: 7, Key: "l"}, Status{ID: 11, UID: 7, Key: "l"}) // both in one batch
	list, err := db.Timeline(t.Context(), 7, 0, 10)
	if err != nil || len(list) != 2 || list[0].ID != 10 || list[1].ID != 5 {
		t.Fatalf("timeline = %+v, %v, want ids 10 and 5", list, err)
	}
	for id, want := range map[int64]int64{5: 5, 6: 5, 10: 10, 11: 10} {
		if got, ok, err := db.Show(t.Context(), id); !ok || err != nil || got.ID != want {
			t.Errorf("Show(%d) = %+v, %v, %v, want status %d", id, got, ok, err, want)
		}
	}
	if _, ok, err := db.Show(t.Context(), 12); ok || err != nil {
		t.Errorf("Show of an unknown id = %v, %v", ok, err)
	}
}

// Keys are remembered across a restart, the newest longest.
func TestRecentKeys(t *testing.T) {
	const generation = 4
	dir := t.TempDir()
	db, err := openPebble(dir)
	if err != nil {
		t.Fatal(err)
	}
	db.keys = newRecentKeys(generation)
	post := func(id, key int64) Status { return Status{ID: id, UID: 7, Key: fmt.Sprint(key)} }
	for id := int64(1); id <= 100; id++ {
		if id%5 == 0 {
			mustAdd(t, db, 1, Status{ID: id, UID: 7}) // no key, nothing to remember
			continue
		}
		mustAdd(t, db, 1, post(id, id))
		if n := len(db.keys.recent) + len(db.keys.older); n > 2*generation {
			t.Fatalf("%d keys remembered, want at most %d", n, 2*generation)
		}
	}
	mustAdd(t, db, 0, post(101, 99), post(102, 98), post(103, 97), post(104, 96))
	mustAdd(t, db, 1, post(105, 1)) // forgotten
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	if db, err = openPebble(dir); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if n := len(db.keys.recent); n != 80 {
		t.Errorf("%d keys remembered after a restart, want all 80", n)
	}
	db.keys = newRecentKeys(generation)
	if err := db.loadKeys(); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, db, 0, post(106, 1), post(107, 99), post(108, 96))
	mustAdd(t, db, 1, post(109, 92)) // not among the newest
	for id, want := range map[int64]int64{105: 105, 106: 105, 107: 99, 108: 96, 103: 97} {
		if got, ok, err := db.Show(t.Context(), id); !ok || err != nil || got.ID != want {
			t.Errorf("Show(%d) = %+v, %v, %v, want status %d", id, got, ok, err, want)
		}
	}
}

// A damaged index is not taken for one without keys.
func TestDamagedKeys(t *testing.T) {
	dir := t.TempDir()
	db, err := openPebble(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.db.Set(numberKey(nil, 's', 5), make([]byte, 9), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	const want = "key 730000000000000005 holds 9 bytes, want 8 or 24"
	if _, err := openPebble(dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestMySQLAddresses(t *testing.T) {
	if _, err := parseMySQL("mysql://feed:secret@127.0.0.1:3306/feed"); err != nil {
		t.Error(err)
	}
	for _, address := range []string{
		"mysql://127.0.0.1:3306/feed", "mysql://feed:secret@127.0.0.1/feed", "mysql://feed:secret@127.0.0.1:3306",
		"postgres://feed:secret@127.0.0.1:5432/feed", "feed:secret@tcp(127.0.0.1:3306)/feed", "mysql://feed:secret@:bad/feed",
	} {
		_, err := parseMySQL(address)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want an error without the password", address, err)
		}
	}
}

func FuzzStatus(f *testing.F) {
	seed, _ := (&Status{ID: 1, UID: 2, CreatedAt: 3, Text: "text", Media: "1042:1", Key: "k"}).AppendBinary(nil)
	f.Add(seed)
	f.Add(seed[:len(seed)-1])
	f.Add([]byte{statusFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again Status
		if s.UnmarshalBinary(b) != nil {
			return
		}
		enc, err := s.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalBinary(enc); err != nil || again != s {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}

func BenchmarkDatabaseAdd(b *testing.B) {
	db := openTestPebble(b)
	batch := make([]Status, batchSize)
	var id int64
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			id++
			batch[i] = Status{ID: id, UID: id % 4096, CreatedAt: 1, Key: fmt.Sprint("newyear-", id),
				Text: "祝所有的努力都不会白费 新的一年平安喜乐 加油 we will be fine this year is ours"}
		}
		if _, err := db.Add(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(id), "µs/status")
}
