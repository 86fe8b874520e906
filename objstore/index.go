package objstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Index lets Find look up objects by a value that they have. Its entries
// change in the same step as the object.
type Index[T any] struct {
	// Name tells it from the type's other indexes: 1 to 32 of a-z, 0-9, '_'.
	Name string

	// Keys returns the values under which an object is found, none or up to 256.
	// It must depend on the object only. nil means the standard metadata that
	// Name says: "url", "author" (the author's ID) or "tags".
	Keys func(obj *Object[T]) []string
}

// standardKeys are the indexes of standard metadata.
var standardKeys = map[string]func(*Meta) []string{
	"url":    func(m *Meta) []string { return nonEmpty(m.URL) },
	"author": func(m *Meta) []string { return nonEmpty(authorID(m)) },
	"tags":   func(m *Meta) []string { return m.Tags },
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func authorID(m *Meta) string {
	if m.Author == nil {
		return ""
	}
	return m.Author.ID
}

// SortKey turns a number into a string that sorts like it, for Index.Keys and
// FindRange.
func SortKey(n int64) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(n)^1<<63))
}

// checkIndexes finds what is wrong with a type's indexes.
func checkIndexes[T any](indexes []Index[T]) error {
	var errs []error
	for i, x := range indexes {
		if err := checkName(x.Name); err != nil {
			errs = append(errs, fmt.Errorf("index %d: name: %w", i, err))
		}
		if x.Keys == nil && standardKeys[x.Name] == nil {
			errs = append(errs, fmt.Errorf("index %q: no Keys, and no standard metadata", x.Name))
		}
		if slices.ContainsFunc(indexes[:i], func(y Index[T]) bool { return x.Name == y.Name }) {
			errs = append(errs, fmt.Errorf("index %q: there is another", x.Name))
		}
	}
	return errors.Join(errs...)
}

// An entry, as a record keeps it, is an index's name, NUL, and a value. Long
// values are cut and get a sum of what was cut off, so that keys stay short and
// looking up still works.
const maxIndexed = 300

func indexEntry(name, value string) string {
	if len(value) > maxIndexed {
		sum := sha256.Sum256([]byte(value))
		value = value[:maxIndexed-len(sum)] + string(sum[:])
	}
	return name + "\x00" + value
}

// entriesOf are the entries that are to lead to an object.
func entriesOf[T any](indexes []Index[T], obj *Object[T]) ([]string, error) {
	var entries []string
	for _, x := range indexes {
		var keys []string
		if x.Keys != nil {
			keys = x.Keys(obj)
		} else {
			keys = standardKeys[x.Name](&obj.Meta)
		}
		if len(keys) > maxItems {
			return nil, fmt.Errorf("%w: %d values for index %s, at most %d allowed", ErrInvalid, len(keys), x.Name, maxItems)
		}
		for _, key := range keys {
			if e := indexEntry(x.Name, key); !slices.Contains(entries, e) {
				entries = append(entries, e)
			}
		}
	}
	return entries, nil
}

// indexKey is the key of an entry: the value's NUL bytes become 0 255 and its
// end 0 1, so that keys sort like values and no value begins another's key.
func indexKey(entry string, id ID) []byte {
	b := indexPrefix(id.Type, entry)
	return appendObject(append(b, 0, 1), id)
}

// indexPrefix begins the keys of entries that begin like entry.
func indexPrefix(typ uint32, entry string) []byte {
	b := make([]byte, 0, 1+4+len(entry)+16+objectSize)
	b = binary.BigEndian.AppendUint32(append(b, prefixIndex), typ)
	name := true
	for i := range len(entry) {
		b = append(b, entry[i])
		if entry[i] == 0 && !name {
			b = append(b, 255)
		}
		name = name && entry[i] != 0
	}
	return b
}

// parseIndexKey is the reverse of indexKey.
func parseIndexKey(key []byte) (entry string, id ID, err error) {
	if len(key) < 5 || key[0] != prefixIndex {
		return "", id, errKey
	}
	typ := binary.BigEndian.Uint32(key[1:])
	name, rest, ok := bytes.Cut(key[5:], []byte{0})
	if !ok {
		return "", id, errKey
	}
	e := append(bytes.Clone(name), 0)
	for {
		i := bytes.IndexByte(rest, 0)
		if i < 0 || i+1 == len(rest) {
			return "", id, errKey
		}
		e = append(e, rest[:i]...)
		mark := rest[i+1]
		rest = rest[i+2:]
		if mark == 1 {
			break
		}
		if mark != 255 {
			return "", id, errKey
		}
		e = append(e, 0)
	}
	if id, err = parseObject(rest); err == nil && id.Type != typ {
		err = errKey
	}
	return string(e), id, err
}

// FindOptions says how to go through what an index leads to. nil means all of
// it in rising order.
type FindOptions struct {
	Reverse bool // from the last to the first
	Limit   int  // at most this many objects; 0 means all
}

// Find goes through the objects that an index finds under a value, in the
// order of their ids: the oldest first, or with Reverse the newest. They are
// read in pages; what changes meanwhile is seen or not. An error ends it.
func (c *Collection[T]) Find(ctx context.Context, index, value string, opts *FindOptions) iter.Seq2[*Object[T], error] {
	from := append(indexPrefix(c.kind.number, indexEntry(index, value)), 0, 1)
	return c.find(ctx, index, from, after(from), opts)
}

// FindRange goes through the objects that an index finds under the values from
// from on and below to, in the order of values and then of ids. An object that
// has several of them comes several times. An empty to means to the end.
func (c *Collection[T]) FindRange(ctx context.Context, index, from, to string, opts *FindOptions) iter.Seq2[*Object[T], error] {
	low, high := indexPrefix(c.kind.number, indexEntry(index, from)), []byte(nil)
	if to != "" {
		high = indexPrefix(c.kind.number, indexEntry(index, to))
	} else {
		high = after(indexPrefix(c.kind.number, index+"\x00"))
	}
	return c.find(ctx, index, low, high, opts)
}

func (c *Collection[T]) find(ctx context.Context, index string, from, to []byte, opts *FindOptions) iter.Seq2[*Object[T], error] {
	var o FindOptions
	if opts != nil {
		o = *opts
	}
	return func(yield func(*Object[T], error) bool) {
		if !slices.ContainsFunc(c.indexes, func(x Index[T]) bool { return x.Name == index }) {
			yield(nil, fmt.Errorf("objstore: type %s has no index %q", c.kind.name, index))
			return
		}
		c.pages(ctx, Range{From: from, To: to, Reverse: o.Reverse}, o.Limit, func(key []byte) (ID, string, error) {
			entry, id, err := parseIndexKey(key)
			return id, entry, err
		}, yield)
	}
}
