package objstore

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// NewGeneratorClock is NewGenerator with a clock of the test's own.
func NewGeneratorClock(opts *GeneratorOptions, now func() time.Time) (*Generator, error) {
	return newGenerator(opts, now)
}

// SetClock gives a library a clock of the test's own.
func (o *Options) SetClock(now func() time.Time) { o.now = now }

// SetFS puts the metadata on another file system.
func (o *Options) SetFS(fs vfs.FS) { o.pebble.fs = fs }

// DecodeRecord decodes a stored record and encodes it again.
func DecodeRecord(b []byte) (meta Meta, payload, again []byte, err error) {
	r := record{meta: &meta}
	if err := r.decode(b); err != nil {
		return meta, nil, nil, err
	}
	if err := r.decodeEntries(b); err != nil {
		return meta, nil, nil, err
	}
	return meta, r.payload, r.append(nil), nil
}

// EncodeRecord is the record of an object.
func EncodeRecord(meta *Meta, codec uint8, schema uint32, entries []string, payload []byte) []byte {
	r := record{meta: meta, codec: codec, schema: schema, entries: entries, payload: payload}
	return r.append(nil)
}
