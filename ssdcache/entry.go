package ssdcache

import (
	"encoding/binary"
	"time"
)

// entry is a value in a tier.
type entry[V any] struct {
	value   V
	fresh   int64         // until when it is, in Unix milliseconds; 0: for ever
	expires int64         // until when it may be served at all; 0: for ever
	cost    time.Duration // of the load
	size    int           // encoded
	absent  bool          // the loader said ErrNotFound
}

func (e *entry[V]) answer() (V, error) {
	if e.absent {
		return e.value, ErrNotFound
	}
	return e.value, nil
}

// On disk and in a shared tier an entry is
//
//	0   8  until when it is fresh, in Unix milliseconds, little-endian
//	8   4  cost of the load in microseconds
//	12     the value as the Codec encodes it
//
// and the tier knows when it expires.
const entryHeader = 12

func appendEntry[V any](dst []byte, codec Codec, e *entry[V]) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.fresh))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(min(e.cost.Microseconds(), 1<<32-1)))
	return codec.Append(dst, &e.value)
}

func decodeEntry[V any](codec Codec, data []byte) (*entry[V], error) {
	if len(data) < entryHeader {
		return nil, errDamaged
	}
	e := &entry[V]{
		fresh: int64(binary.LittleEndian.Uint64(data)),
		cost:  time.Duration(binary.LittleEndian.Uint32(data[8:])) * time.Microsecond,
		size:  len(data),
	}
	if err := codec.Decode(data[entryHeader:], &e.value); err != nil {
		return nil, err
	}
	return e, nil
}
