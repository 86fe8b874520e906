package memcached_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/internal/memcached"
)

func words(list [][]byte) string {
	var s []string
	for _, w := range list {
		s = append(s, string(w))
	}
	return strings.Join(s, "|")
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"", "  storage=false"},
		{"   ", "  storage=false"},
		{"get", "get  storage=false"},
		{"get a b", "get a|b storage=false"},
		{"  get   a  b  ", "get a|b storage=false"},
		{"delete k noreply", "delete k|noreply storage=false"},
		{"set k 7 -1 3", "set k|7|-1|3 storage=true k 7 -1 3 false"},
		{"SET k 7 0 3 noreply", "SET k|7|0|3|noreply storage=true k 7 0 3 true"},
		{"set k 4294967295 0 2147483646 norepl", "set k|4294967295|0|2147483646|norepl storage=true k 4294967295 0 2147483646 false"},
		{"cas k 0 0 1 99 noreply", "cas k|0|0|1|99|noreply storage=true k 0 0 1 true"},
		{"prepend k 0 0 0", "prepend k|0|0|0 storage=true k 0 0 0 false"},
	} {
		var cmd memcached.Command
		if err := cmd.Parse([]byte(c.line)); err != nil {
			t.Errorf("%q: %v", c.line, err)
			continue
		}
		got := fmt.Sprintf("%s %s storage=%v", cmd.Verb, words(cmd.Args), cmd.Storage)
		if cmd.Storage {
			got += fmt.Sprintf(" %s %d %d %d %v", cmd.Key, cmd.Flags, cmd.Exptime, cmd.Bytes, cmd.NoReply)
		}
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.line, got, c.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for line, part := range map[string]string{
		"set":                   "takes 4 or 5 words, got 0",
		"set k 0 0":             "got 3",
		"set k 0 0 1 noreply x": "got 6",
		"cas k 0 0 1":           "takes 5 or 6 words",
		"set k -1 0 1":          `flags "-1"`,
		"set k 4294967296 0 1":  "flags",
		"set k 0 x 1":           "exptime",
		"set k 0 0 -1":          "length",
		"set k 0 0 2147483647":  "length",
		"set k 0 0 1x":          "length",
		"set " + strings.Repeat("k", 251) + " 0 0 1": "key of 251 bytes",
		"add k\x01 0 0 1": "control byte",
		"set k\x7f 0 0 1": "control byte",
	} {
		var cmd memcached.Command
		err := cmd.Parse([]byte(line))
		if !errors.Is(err, memcached.ErrFormat) || !strings.Contains(err.Error(), part) || !cmd.Storage {
			t.Errorf("%.40q: %v, want one about %q", line, err, part)
		}
	}
}

func TestAnnounced(t *testing.T) {
	for line, want := range map[string]int{
		"foo k 0 0 7": 7, "foo k 1 -1 0": 0, "foo k 0 0 7 noreply": 7,
		"foo k 0 0": -1, "foo k x 0 7": -1, "foo k 0 x 7": -1, "foo k 0 0 -7": -1, "foo k 0 0 2147483647": -1, "foo k 0 0 7 8": -1, "foo": -1,
	} {
		var cmd memcached.Command
		if err := cmd.Parse([]byte(line)); err != nil {
			t.Fatal(err)
		}
		n, ok := cmd.Announced()
		if ok != (want >= 0) || ok && n != want || cmd.NoReply != (ok && strings.HasSuffix(line, "noreply")) {
			t.Errorf("%q: %d, %v, noreply %v", line, n, ok, cmd.NoReply)
		}
	}
}

func TestIs(t *testing.T) {
	cmd := memcached.Command{Verb: []byte("FlUsH_aLl")}
	if !cmd.Is("flush_all") || cmd.Is("flush-all") || cmd.Is("flush_al") || cmd.Is("") {
		t.Error("flush_all")
	}
	cmd.Verb = []byte("\x07et") // 'g' without a bit that is not the case bit
	if cmd.Is("get") {
		t.Error("a control byte is taken for a letter")
	}
}

// Own keeps the words when the line's buffer is used for something else.
func TestOwn(t *testing.T) {
	line := []byte("set key 1 2 3 noreply")
	var cmd memcached.Command
	if err := cmd.Parse(line); err != nil {
		t.Fatal(err)
	}
	cmd.Own()
	copy(line, bytes.Repeat([]byte{'x'}, len(line)))
	if string(cmd.Verb) != "set" || words(cmd.Args) != "key|1|2|3|noreply" || string(cmd.Key) != "key" {
		t.Errorf("%s %s %s", cmd.Verb, words(cmd.Args), cmd.Key)
	}
}

func FuzzParse(f *testing.F) {
	for _, line := range []string{"get a b", "set k 0 0 1 noreply", "cas k 1 2 3 4", "delete k 0", "", " ", "set  k\t0 0 1", "ms a2V5 3 b F7 T9 Oabc", "set k 0 0 99999999999999999999"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var cmd memcached.Command
		if err := cmd.Parse(line); err != nil {
			if !cmd.Storage || !errors.Is(err, memcached.ErrFormat) {
				t.Fatalf("%v without a body", err)
			}
			return
		}
		if cmd.Storage && (cmd.Bytes < 0 || cmd.Bytes >= 1<<31-1 || memcached.CheckKey(cmd.Key) != nil) {
			t.Fatalf("%+v", cmd)
		}
		for _, word := range append(cmd.Args, cmd.Verb) {
			if bytes.IndexByte(word, ' ') >= 0 {
				t.Fatalf("word %q", word)
			}
		}
		// Written again with single spaces it means the same.
		var again memcached.Command
		if err := again.Parse(bytes.Join(append([][]byte{cmd.Verb}, cmd.Args...), []byte{' '})); err != nil || words(again.Args) != words(cmd.Args) {
			t.Fatalf("%q: %v", line, err)
		}
	})
}
