package objstore

import (
	"context"
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

// IndexKey is the key of an index entry.
func IndexKey(name, value string, id ID) []byte { return indexKey(indexEntry(name, value), id) }

// ParseIndexKey takes such a key apart and puts it together again.
func ParseIndexKey(key []byte) (entry string, id ID, again []byte, err error) {
	if entry, id, err = parseIndexKey(key); err != nil {
		return entry, id, nil, err
	}
	return entry, id, indexKey(entry, id), nil
}

// ParseEvent decodes an event and encodes it again.
func ParseEvent(key, b []byte) (e Event, again []byte, err error) {
	if e, err = parseEvent(key, b); err != nil {
		return e, nil, err
	}
	return e, e.append(nil), nil
}

// Compact brings a library's rows into tables of the last level.
func (l *Library) Compact(ctx context.Context) error {
	return l.store.(*PebbleStore).db.Compact(ctx, []byte{0}, []byte{255}, false)
}
