package objstore

import (
	"encoding/binary"
	"errors"
)

// The keys of a Store. Numbers are big-endian, so that keys sort like them; an
// object is its type in 4 bytes, its kind of number in 1, and the number in 8.
//
//	f                   → format 1
//	r object            → record          the objects
//	i time 8 content    → nothing         intents: this content may have no object
//	g time 8 content    → nothing         garbage: this content may have lost its object
//	u content 0 object  → nothing         which objects a content has
//	e time 8 object     → nothing         look at this object then: it ends, or is to be purged
//
// Times are microseconds since 1970.
const (
	prefixFormat  = 'f'
	prefixRecord  = 'r'
	prefixIntent  = 'i'
	prefixGarbage = 'g'
	prefixUse     = 'u'
	prefixEnd     = 'e'

	storeFormat = 1

	kindNumber = 0
	objectSize = 4 + 1 + 8
)

var formatKey = []byte{prefixFormat}

func appendObject(b []byte, id ID) []byte {
	b = binary.BigEndian.AppendUint32(b, id.Type)
	b = append(b, kindNumber)
	return binary.BigEndian.AppendUint64(b, uint64(id.Number))
}

var errKey = errors.New("malformed key")

func parseObject(b []byte) (ID, error) {
	if len(b) != objectSize || b[4] != kindNumber {
		return ID{}, errKey
	}
	id := ID{Type: binary.BigEndian.Uint32(b), Number: int64(binary.BigEndian.Uint64(b[5:]))}
	if id.Type == 0 || id.Number < 1 || id.Number > MaxNumber {
		return ID{}, errKey
	}
	return id, nil
}

func recordKey(id ID) []byte {
	return appendObject(append(make([]byte, 0, 1+objectSize), prefixRecord), id)
}

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
	end := append([]byte(nil), prefix...)
	end[len(end)-1]++
	return end
}
