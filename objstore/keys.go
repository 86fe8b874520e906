package objstore

import (
	"encoding/binary"
	"errors"
	"slices"
)

// The keys of a Store. Numbers are big-endian, so that keys sort like them. An
// object is its type in 4 bytes, then 0 and its number in 8, or 1 and its digest
// in 16.
//
//	f                         → format 1
//	c                         → number 8   epoch of the cache, see openCache
//	r object                  → record     the objects
//	v object version 8        → record     what they were before, see Type.History
//	x type 4 name 0 value object → nothing index entries, see indexKey
//	i time 8 content          → nothing    intents: this content may have no object
//	g time 8 content          → nothing    garbage: this content may have lost its object
//	u content 0 object        → sum 32     which objects a content has
//	h sum 32                  → content    a content with this sum, see Options.Dedupe
//	e time 8 object           → nothing    look at this object then: it ends, or is to be purged
//	l number 8                → event      the change feed, see Options.Feed
//
// Times are microseconds since 1970.
const (
	prefixFormat  = 'f'
	prefixEpoch   = 'c'
	prefixRecord  = 'r'
	prefixHistory = 'v'
	prefixIndex   = 'x'
	prefixIntent  = 'i'
	prefixGarbage = 'g'
	prefixUse     = 'u'
	prefixSum     = 'h'
	prefixEnd     = 'e'
	prefixFeed    = 'l'

	storeFormat = 1

	kindNumber = 0
	kindDigest = 1
	objectSize = 4 + 1 + 16 // at most
)

var formatKey, epochKey = []byte{prefixFormat}, []byte{prefixEpoch}

func appendObject(b []byte, id ID) []byte {
	b = binary.BigEndian.AppendUint32(b, id.Type)
	if id.Digest != (Digest{}) {
		return append(append(b, kindDigest), id.Digest[:]...)
	}
	return binary.BigEndian.AppendUint64(append(b, kindNumber), uint64(id.Number))
}

var errKey = errors.New("objstore: malformed key")

func parseObject(b []byte) (ID, error) {
	id, rest, err := cutObject(b)
	if err == nil && len(rest) > 0 {
		err = errKey
	}
	return id, err
}

// cutObject takes an object off the front of b.
func cutObject(b []byte) (id ID, rest []byte, err error) {
	if len(b) < 5 {
		return id, b, errKey
	}
	id.Type = binary.BigEndian.Uint32(b)
	kind, b := b[4], b[5:]
	switch {
	case kind == kindNumber && len(b) >= 8:
		id.Number, b = int64(binary.BigEndian.Uint64(b)), b[8:]
	case kind == kindDigest && len(b) >= 16:
		id.Digest, b = Digest(b[:16]), b[16:]
	}
	if !id.valid() {
		return ID{}, b, errKey
	}
	return id, b, nil
}

func recordKey(id ID) []byte {
	return appendObject(append(make([]byte, 0, 1+objectSize), prefixRecord), id)
}

// historyKey is the key of a version that an object had. Version 0 begins the
// keys of an object.
func historyKey(id ID, version uint64) []byte {
	b := appendObject(append(make([]byte, 0, 9+objectSize), prefixHistory), id)
	return binary.BigEndian.AppendUint64(b, version)
}

func sumKey(sum SHA256) []byte { return append([]byte{prefixSum}, sum[:]...) }

// timeKey is the key of an intent, of garbage or of an end.
func timeKey(prefix byte, micro int64, rest string) []byte {
	b := make([]byte, 0, 9+len(rest))
	b = binary.BigEndian.AppendUint64(append(b, prefix), uint64(micro))
	return append(b, rest...)
}

func parseTimeKey(key []byte) (micro int64, rest string, err error) {
	if len(key) < 10 {
		return 0, "", errKey
	}
	return int64(binary.BigEndian.Uint64(key[1:])), string(key[9:]), nil
}

func endKey(micro int64, id ID) []byte {
	return appendObject(timeKey(prefixEnd, micro, ""), id)
}

// usePrefix begins the keys that say which objects a content has.
func usePrefix(content string) []byte {
	b := make([]byte, 0, 2+len(content)+objectSize)
	return append(append(append(b, prefixUse), content...), 0)
}

func useKey(content string, id ID) []byte { return appendObject(usePrefix(content), id) }

// after is the smallest key above all that begin with prefix, whose last byte
// is not 255.
func after(prefix []byte) []byte {
	end := slices.Clone(prefix)
	end[len(end)-1]++
	return end
}
