package objstore

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// record is an object as it is stored: metadata, and a value that its codec
// reads. Its bytes are the protobuf message Record of record.proto, written and
// read by hand so that metadata costs one allocation to read.
type record struct {
	meta    *Meta // without ID, Type and Version, which the row's key and version say
	codec   uint8
	schema  uint32
	entries []string // the index entries that lead here, see indexEntry
	payload []byte
}

// The numbers of the fields in record.proto.
const (
	recMeta    = 1
	recCodec   = 2
	recSchema  = 3
	recEntries = 4
	recPayload = 5

	metaState    = 1
	metaCreated  = 2
	metaUpdated  = 3
	metaExpires  = 4
	metaName     = 5
	metaSummary  = 6
	metaURL      = 7
	metaImage    = 8
	metaAuthor   = 9
	metaTags     = 10
	metaLinks    = 11
	metaCustom   = 12
	metaContents = 13
)

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return appendItem(b, num, s)
}

// appendItem appends a string even if it is empty, as repeated fields need.
func appendItem(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

// appendMessage appends what add appends as an embedded message: its length
// goes in front afterwards, which moves at most a few bytes.
func appendMessage(b []byte, num protowire.Number, add func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	start := len(b)
	b = add(b)
	size := len(b) - start
	n := protowire.SizeVarint(uint64(size))
	b = append(b, make([]byte, n)...)
	copy(b[start+n:], b[start:start+size])
	protowire.AppendVarint(b[:start], uint64(size))
	return b
}

func appendTime(b []byte, num protowire.Number, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	// 1970 began at 0, which is a time too.
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(t.UnixMicro()))
}

func (r *record) append(b []byte) []byte {
	b = appendMessage(b, recMeta, r.meta.append)
	b = appendVarint(b, recCodec, uint64(r.codec))
	b = appendVarint(b, recSchema, uint64(r.schema))
	for _, e := range r.entries {
		b = appendItem(b, recEntries, e)
	}
	return protowire.AppendBytes(protowire.AppendTag(b, recPayload, protowire.BytesType), r.payload)
}

func (m *Meta) append(b []byte) []byte {
	b = appendVarint(b, metaState, uint64(m.State))
	b = appendTime(b, metaCreated, m.Created)
	b = appendTime(b, metaUpdated, m.Updated)
	b = appendTime(b, metaExpires, m.Expires)
	b = appendString(b, metaName, m.DisplayName)
	b = appendString(b, metaSummary, m.Summary)
	b = appendString(b, metaURL, m.URL)
	if m.Image != nil {
		b = appendMessage(b, metaImage, func(b []byte) []byte {
			b = appendString(b, 1, m.Image.URL)
			b = appendVarint(b, 2, uint64(m.Image.Width))
			return appendVarint(b, 3, uint64(m.Image.Height))
		})
	}
	if m.Author != nil {
		b = appendMessage(b, metaAuthor, func(b []byte) []byte {
			b = appendString(b, 1, m.Author.ID)
			b = appendString(b, 2, m.Author.DisplayName)
			return appendString(b, 3, m.Author.URL)
		})
	}
	for _, tag := range m.Tags {
		b = appendItem(b, metaTags, tag)
	}
	for _, l := range m.Links {
		b = appendMessage(b, metaLinks, func(b []byte) []byte {
			return appendString(appendString(b, 1, l.Rel), 2, l.URL)
		})
	}
	if len(m.Custom) > 0 {
		for _, k := range slices.Sorted(maps.Keys(m.Custom)) {
			b = appendMessage(b, metaCustom, func(b []byte) []byte {
				return appendString(appendString(b, 1, k), 2, m.Custom[k])
			})
		}
	}
	for i := range m.Contents {
		b = appendMessage(b, metaContents, m.Contents[i].append)
	}
	return b
}

func (c *ContentInfo) append(b []byte) []byte {
	b = appendString(b, 1, c.Name)
	b = appendString(b, 2, c.Type)
	b = appendVarint(b, 3, uint64(c.Size))
	b = protowire.AppendBytes(protowire.AppendTag(b, 4, protowire.BytesType), c.SHA256[:])
	b = protowire.AppendFixed32(protowire.AppendTag(b, 5, protowire.Fixed32Type), c.CRC32C)
	b = appendString(b, 6, c.Key)
	b = appendVarint(b, 7, uint64(c.blocks.size))
	return appendString(b, 8, c.blocks.sums)
}

// decode reads a record, its metadata to where r.meta points. r.payload stays a
// part of b; all else is copied.
func (r *record) decode(b []byte) error {
	*r = record{meta: r.meta}
	*r.meta = Meta{}
	var err error
	for rest := b; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return corruptRecord(b, rest, protowire.ParseError(n))
		}
		v := rest[n:]
		switch {
		case num == recMeta && typ == protowire.BytesType:
			var meta []byte
			if meta, n = protowire.ConsumeBytes(v); n >= 0 {
				err = r.meta.decode(string(meta))
			}
		case num == recCodec && typ == protowire.VarintType:
			var x uint64
			x, n = protowire.ConsumeVarint(v)
			r.codec = uint8(x)
			if x > 255 {
				err = errors.New("codec above 255")
			}
		case num == recSchema && typ == protowire.VarintType:
			var x uint64
			x, n = protowire.ConsumeVarint(v)
			r.schema = uint32(x)
			if x > 1<<32-1 {
				err = errors.New("schema version above 32 bits")
			}
		case num == recEntries && typ == protowire.BytesType:
			// Reading does not need them: entriesOf does.
			_, n = protowire.ConsumeBytes(v)
		case num == recPayload && typ == protowire.BytesType:
			r.payload, n = protowire.ConsumeBytes(v)
		default:
			n = protowire.ConsumeFieldValue(num, typ, v)
		}
		if n < 0 {
			err = protowire.ParseError(n)
		}
		if err != nil {
			return corruptRecord(b, rest, err)
		}
		rest = v[n:]
	}
	return nil
}

// decodeEntries reads the index entries that decode leaves out.
func (r *record) decodeEntries(b []byte) error {
	for rest := b; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return corruptRecord(b, rest, protowire.ParseError(n))
		}
		v := rest[n:]
		if num == recEntries && typ == protowire.BytesType {
			var e []byte
			if e, n = protowire.ConsumeBytes(v); n >= 0 {
				r.entries = append(r.entries, string(e))
			}
		} else {
			n = protowire.ConsumeFieldValue(num, typ, v)
		}
		if n < 0 {
			return corruptRecord(b, rest, protowire.ParseError(n))
		}
		rest = v[n:]
	}
	return nil
}

// confirms tells whether a record has an index entry.
func confirms(b []byte, entry string) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if num == recEntries && typ == protowire.BytesType {
			if e, n := protowire.ConsumeBytes(b); n >= 0 && string(e) == entry {
				return true
			}
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return false
		}
		b = b[n:]
	}
	return false
}

func corruptRecord(b, rest []byte, err error) error {
	return fmt.Errorf("%w: record, at byte %d of %d: %w", ErrCorrupt, len(b)-len(rest), len(b), err)
}
