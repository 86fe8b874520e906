package memcached_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/internal/memcached"
)

func TestMetaStorage(t *testing.T) {
	for line, want := range map[string]string{
		"ms k 3":                   "k 3 0 0 ",
		"ms k 3 F7 T-1 MS q Oabc":  "k 3 7 -1 F7|T-1|MS|q|Oabc",
		"ms a2V5 0 b k":            "key 0 0 0 b|k",
		"MS k 2147483646 c I S100": "k 2147483646 0 0 c|I|S100",
	} {
		var cmd memcached.Command
		if err := cmd.Parse([]byte(line)); err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if got := fmt.Sprintf("%s %d %d %d %s", cmd.Key, cmd.Bytes, cmd.Flags, cmd.Exptime, words(cmd.Meta.Flags)); got != want || !cmd.Storage {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
	for line, part := range map[string]string{
		"ms": "a key and a length", "ms k": "a key and a length", "ms k x": "length", "ms k 2147483647": "length", "ms k 1 q q": "twice",
		"ms k 1 F-1": "flags", "ms k 1 Tx": "exptime", "ms k 1 M": "mode", "ms k 1 ME": "mode", "ms ! 1 b": "key",
		"ms " + strings.Repeat("k", 251) + " 1": "251 bytes",
	} {
		var cmd memcached.Command
		if err := cmd.Parse([]byte(line)); !errors.Is(err, memcached.ErrFormat) || !strings.Contains(err.Error(), part) || !cmd.Storage {
			t.Errorf("%.40q: %v, want one about %q", line, err, part)
		}
	}
}

// A flag that is not known leaves the length of the body known.
func TestBadFlag(t *testing.T) {
	var cmd memcached.Command
	if err := cmd.Parse([]byte("ms k 12 N60")); err != nil || !cmd.BadFlag || cmd.Bytes != 12 {
		t.Errorf("%v, %+v", err, cmd)
	}
	if err := cmd.Parse([]byte("ms k 12 F1")); err != nil || cmd.BadFlag {
		t.Errorf("%v, %+v", err, cmd)
	}
}

func TestMeta(t *testing.T) {
	var cmd memcached.Command
	line := []byte("mg key v Oabc c")
	if err := errors.Join(cmd.Parse(line), cmd.Meta.Parse(cmd.Args)); err != nil {
		t.Fatal(err)
	}
	own := cmd.Meta.Own()
	copy(line, "xxxxxxxxxxxxxxxxxxxx")
	if string(own.Key) != "key" || !own.Has('v') || own.Has('x') || string(own.Value('O')) != "abc" || own.Value('q') != nil {
		t.Errorf("got %s %s", own.Key, words(own.Flags))
	}
	for _, args := range [][][]byte{nil, {[]byte("k\x01")}, {[]byte("k"), []byte("v"), []byte("v1")}} {
		if err := cmd.Meta.Parse(args); !errors.Is(err, memcached.ErrFormat) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
