package hbasestore

import (
	"bytes"
	"hash/crc32"

	"github.com/heddle-go/heddle/objstore"
)

// maxSalts leaves the upper half of the rows free.
const maxSalts = 128

// saltOf is the salt of a key.
func saltOf(key []byte, salts int) byte {
	if n, ok := group(key); ok {
		key = key[:n]
	}
	return byte(crc32.ChecksumIEEE(key) % uint32(salts))
}

// appendRow appends the row of a key in the table.
func appendRow(b []byte, key []byte, salts int) []byte {
	return append(append(b, saltOf(key, salts)), key...)
}

// group tells how much of the front of a key decides its salt, if that is not
// all of it: all keys that begin with this have the same. It follows the keys
// that objstore scans as a whole:
//
//	v object version 8           the versions of an object
//	u content 0 object           the objects of a content
//	x type 4 name 0 value 0 1 object   the entries of a value
func group(key []byte) (n int, ok bool) {
	if len(key) == 0 {
		return 0, false
	}
	switch key[0] {
	case 'v':
		const kind = 1 + 4
		n = kind + 1 + 8
		if len(key) > kind && key[kind] == 1 {
			n = kind + 1 + 16
		}
		return n, len(key) >= n
	case 'u':
		n = bytes.IndexByte(key, 0) + 1
		return n, n > 0
	case 'x':
		const name = 1 + 4
		if len(key) < name {
			return 0, false
		}
		end := bytes.IndexByte(key[name:], 0)
		if end < 0 {
			return 0, false
		}
		start := name + end + 1
		end = bytes.Index(key[start:], []byte{0, 1})
		return start + end + 2, end >= 0
	}
	return 0, false
}

// saltsOf lists the salts that keys of a range have.
func saltsOf(r *objstore.Range, salts int) []byte {
	if n, ok := group(commonPrefix(r)); ok {
		return []byte{saltOf(r.From[:n], salts)}
	}
	all := make([]byte, salts)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}

// commonPrefix is what all keys of a range begin with, as far as that shows.
func commonPrefix(r *objstore.Range) []byte {
	n := 0
	for n < len(r.From) && n < len(r.To) && r.From[n] == r.To[n] {
		n++
	}
	if n < len(r.From) && n == len(r.To)-1 && r.From[n]+1 == r.To[n] {
		n++ // what is below To begins like From
	}
	return r.From[:n]
}
