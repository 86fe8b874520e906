package objstore_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/heddle-go/heddle/objstore"
)

func TestShort(t *testing.T) {
	for n, want := range map[int64]string{
		4381312410216312: "Hy7j30UgU", // the first three are Weibo's own
		4404101091169383: "I1IGF4Ud1",
		3520617028999724: "z8ElgBLeQ",
		1:                "1",
		61:               "Z",
		62:               "10",
		9999999:          "FXsj",
		10000000:         "10000",
	} {
		if got := objstore.Short(n); got != want {
			t.Errorf("Short(%d) = %q, want %q", n, got, want)
		}
		if got, err := objstore.ParseShort(want); err != nil || got != n {
			t.Errorf("ParseShort(%q) = %d, %v, want %d", want, got, err, n)
		}
	}
	if n, err := objstore.ParseShort(objstore.Short(objstore.MaxNumber)); err != nil || n != objstore.MaxNumber {
		t.Error(n, err)
	}
	for _, n := range []int64{0, -1, objstore.MaxNumber + 1, -1 << 63} {
		if got := objstore.Short(n); got != "" {
			t.Errorf("Short(%d) = %q", n, got)
		}
	}
	for _, s := range []string{"", "0", "01", "-1", "1 ", "FXsk", "ZZZZ", "1ZZZZ", "1:2", "ZZZZFXsjFXsj", "ffffFXsjFXsjF", "é"} {
		if n, err := objstore.ParseShort(s); !errors.Is(err, objstore.ErrBadID) {
			t.Errorf("ParseShort(%q) = %d, %v", s, n, err)
		}
	}
}

func TestParseID(t *testing.T) {
	id, err := objstore.ParseID("1034:4301288616219477")
	if err != nil || id != (objstore.ID{Type: 1034, Number: 4301288616219477}) {
		t.Fatal(id, err)
	}
	if s := id.String(); s != "1034:4301288616219477" {
		t.Error(s)
	}
	// The record this number is from says video_publish_time 1540990584.
	if got := id.Time(); !got.Equal(time.Unix(1540990583, 0)) {
		t.Error(got.Unix())
	}
	b, err := json.Marshal(map[string]objstore.ID{"id": id})
	if err != nil || string(b) != `{"id":"1034:4301288616219477"}` {
		t.Errorf("%s %v", b, err)
	}
	var back map[string]objstore.ID
	if err := json.Unmarshal(b, &back); err != nil || back["id"] != id {
		t.Error(back, err)
	}
	for _, s := range []string{
		"", ":", "1034", "1034:", ":1", "0:1", "1:0", "01:1", "1:01", "1034:4301288616219477 ", " 1:1", "+1:1", "1:-1", "1:1:1",
		"4294967296:1", "1:9007199254740992", "1:99999999999999999999", "1034:0x10", "a:1", "1034:" + string(make([]byte, 1000)),
	} {
		if id, err := objstore.ParseID(s); !errors.Is(err, objstore.ErrBadID) {
			t.Errorf("ParseID(%q) = %v, %v", s, id, err)
		} else if len(err.Error()) > 400 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}

func TestDigestID(t *testing.T) {
	id := objstore.URLID(2003022, "http://example.com/1")
	if got := id.String(); got != "2003022:a135beced0236b723d12f845ff20ec22" {
		t.Error(got)
	}
	if back, err := objstore.ParseID(id.String()); err != nil || back != id {
		t.Error(back, err)
	}
	if id.Short() != "" || id.IsZero() || id == objstore.URLID(2003022, "http://example.com/2") || id == objstore.URLID(1, "http://example.com/1") {
		t.Error(id)
	}
	if objstore.ContentID(1, objstore.SHA256{15: 1, 16: 2}).String() != "1:00000000000000000000000000000001" {
		t.Error(objstore.ContentID(1, objstore.SHA256{15: 1, 16: 2}))
	}
	for _, s := range []string{
		"1:00000000000000000000000000000000", "1:0000000000000000000000000000000g", "1:0000000000000000000000000000000A",
		"1:000000000000000000000000000000001", "0:00000000000000000000000000000001",
	} {
		if id, err := objstore.ParseID(s); !errors.Is(err, objstore.ErrBadID) {
			t.Errorf("ParseID(%q) = %v, %v", s, id, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"1034:4301288616219477", "1:1", "0:1", "2003022:3c979425f3083a2d5aee5e8af2c810fc", "4294967295:9007199254740991", ":", "Hy7j30UgU", "ZZZZ", "00001", "200000000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := objstore.ParseID(s); err == nil {
			if id.String() != s {
				t.Fatalf("%q came back as %q", s, id)
			}
			if n, err := objstore.ParseShort(id.Short()); id.Number != 0 && (err != nil || n != id.Number) {
				t.Fatalf("short form of %v: %d, %v", id, n, err)
			}
		}
		if n, err := objstore.ParseShort(s); err == nil && objstore.Short(n) != s {
			t.Fatalf("short form %q came back as %q", s, objstore.Short(n))
		}
	})
}
