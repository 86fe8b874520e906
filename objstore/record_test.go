package objstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/heddle-go/heddle/objstore"
)

func storedMeta() objstore.Meta {
	m := fullMeta()
	m.State = objstore.Deleted
	m.Created, m.Updated, m.Expires = time.UnixMicro(1), time.UnixMicro(1_700_000_000_000_001), time.UnixMicro(-5)
	m.Contents = []objstore.ContentInfo{{Name: "x", Type: "a/b", Size: 1 << 40, SHA256: objstore.SHA256{0, 255}, CRC32C: 1 << 31, Key: "1/aa/bb"}, {}}
	return m
}

func TestRecord(t *testing.T) {
	for _, meta := range []objstore.Meta{{}, storedMeta(), {Created: time.UnixMicro(0), Expires: time.UnixMicro(0)}} {
		b := objstore.EncodeRecord(&meta, 255, 1<<32-1, []string{"url\x00x", ""}, []byte("payload"))
		got, payload, again, err := objstore.DecodeRecord(b)
		if err != nil || !reflect.DeepEqual(got, meta) || string(payload) != "payload" {
			t.Errorf("got %+v %q %v", got, payload, err)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("encoded again: %x, was %x", again, b)
		}
		for cut := range len(b) {
			// Cut between fields it is a shorter record, else an error.
			if _, _, _, err := objstore.DecodeRecord(b[:cut]); err != nil && !errors.Is(err, objstore.ErrCorrupt) {
				t.Errorf("cut at %d: %v", cut, err)
			}
		}
	}
}

func FuzzRecord(f *testing.F) {
	meta := storedMeta()
	f.Add(objstore.EncodeRecord(&meta, 2, 1, []string{"url\x00x"}, []byte("{}")))
	f.Add(objstore.EncodeRecord(&objstore.Meta{}, 0, 0, nil, nil))
	epoch := objstore.Meta{Created: time.UnixMicro(0), Expires: time.UnixMicro(0)}
	f.Add(objstore.EncodeRecord(&epoch, 1, 0, nil, nil))
	f.Add([]byte{0x0a, 0x02, 0x10, 0xff})
	f.Add([]byte{0x0a, 0x0b, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		meta, payload, again, err := objstore.DecodeRecord(b)
		if err != nil {
			if !errors.Is(err, objstore.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		// What was decoded can be encoded, and then says the same.
		meta2, payload2, third, err := objstore.DecodeRecord(again)
		if err != nil || !reflect.DeepEqual(meta, meta2) || !bytes.Equal(payload, payload2) || !bytes.Equal(again, third) {
			t.Fatalf("%x became %x: %+v, was %+v, %v", b, again, meta2, meta, err)
		}
	})
}

func FuzzMetaJSON(f *testing.F) {
	meta := storedMeta()
	meta.ID = objstore.ID{Type: 1, Number: 2}
	b, err := json.Marshal(&meta)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"id":"1034:4301288616219477","state":"active","create_at":"2014-01-01T00:00:00Z","tags":null}`))
	f.Add([]byte(`{"contents":[{"sha256":"00"}],"image":{"width":-1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m objstore.Meta
		if json.Unmarshal(b, &m) != nil {
			return
		}
		out, err := json.Marshal(&m)
		if err != nil {
			return // JSON reads zones of times that it does not write
		}
		var again objstore.Meta
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if out2, err := json.Marshal(&again); err != nil || !bytes.Equal(out, out2) {
			t.Fatalf("%s became %s, %v", out, out2, err)
		}
	})
}
