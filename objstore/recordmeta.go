package objstore

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is one field of a message in a string: scalars are in num, the rest is
// in text, a part of the message without a copy.
type field struct {
	id   protowire.Number
	typ  protowire.Type
	num  uint64
	text string
}

var errCut = errors.New("cut short")

// varint takes a varint off s.
func varint(s string) (v uint64, rest string, err error) {
	for i := 0; i < len(s) && i < 10; i++ {
		c := s[i]
		if i == 9 && c > 1 {
			return 0, s, errors.New("number above 64 bits")
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, s[i+1:], nil
		}
	}
	return 0, s, errCut
}

// next takes a field off s.
func (f *field) next(s string) (string, error) {
	tag, s, err := varint(s)
	if err != nil {
		return s, err
	}
	f.id, f.typ = protowire.Number(tag>>3), protowire.Type(tag&7)
	if tag>>3 == 0 || tag>>3 > uint64(protowire.MaxValidNumber) {
		return s, fmt.Errorf("field number %d", tag>>3)
	}
	f.num, f.text = 0, ""
	switch f.typ {
	case protowire.VarintType:
		f.num, s, err = varint(s)
		return s, err
	case protowire.BytesType:
		size, s, err := varint(s)
		if err != nil {
			return s, err
		}
		if size > uint64(len(s)) {
			return s, errCut
		}
		f.text = s[:size]
		return s[size:], nil
	case protowire.Fixed32Type, protowire.Fixed64Type:
		size := 4
		if f.typ == protowire.Fixed64Type {
			size = 8
		}
		if len(s) < size {
			return s, errCut
		}
		for i := range size {
			f.num |= uint64(s[i]) << (8 * i)
		}
		return s[size:], nil
	}
	return s, fmt.Errorf("field %d has wire type %d", f.id, f.typ)
}

// fields calls each with the fields of a message. A field of a type that its
// number does not have must be told by each through typ.
func fields(s string, each func(f *field) error) error {
	var f field
	for len(s) > 0 {
		var err error
		if s, err = f.next(s); err != nil {
			return err
		}
		if err := each(&f); err != nil {
			return fmt.Errorf("field %d: %w", f.id, err)
		}
	}
	return nil
}

// Microseconds of the years 1 and 9999: what fits time.Time's text and JSON.
var minMicro, maxMicro = time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC).UnixMicro(), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMicro()

// time reads microseconds since 1970.
func (f *field) time() (time.Time, error) {
	us := int64(f.num)
	if us < minMicro || us > maxMicro {
		return time.Time{}, errors.New("time out of range")
	}
	return time.UnixMicro(us), nil
}

// int reads a number that is at least 0.
func (f *field) int() (int, error) {
	if f.num > 1<<62 {
		return 0, errors.New("number out of range")
	}
	return int(f.num), nil
}

// decode reads metadata. Its strings are parts of s.
func (m *Meta) decode(s string) (err error) {
	var f field
	for len(s) > 0 && err == nil {
		if s, err = f.next(s); err != nil {
			break
		}
		switch {
		case f.typ == protowire.VarintType:
			switch f.id {
			case metaState:
				if f.num >= uint64(len(stateNames)) {
					return fmt.Errorf("metadata: state %d", f.num)
				}
				m.State = State(f.num)
			case metaCreated:
				m.Created, err = f.time()
			case metaUpdated:
				m.Updated, err = f.time()
			case metaExpires:
				m.Expires, err = f.time()
			}
		case f.typ == protowire.BytesType:
			switch f.id {
			case metaName:
				m.DisplayName = f.text
			case metaSummary:
				m.Summary = f.text
			case metaURL:
				m.URL = f.text
			case metaImage:
				m.Image, err = decodeImage(f.text)
			case metaAuthor:
				m.Author, err = decodePerson(f.text)
			case metaTags:
				m.Tags = append(m.Tags, f.text)
			case metaLinks:
				err = m.decodeLink(f.text)
			case metaCustom:
				err = m.decodeCustom(f.text)
			case metaContents:
				m.Contents = append(m.Contents, ContentInfo{})
				err = m.Contents[len(m.Contents)-1].decode(f.text)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	return nil
}

func decodeImage(s string) (*Image, error) {
	v := new(Image)
	return v, fields(s, func(f *field) (err error) {
		switch {
		case f.id == 1 && f.typ == protowire.BytesType:
			v.URL = f.text
		case f.id == 2 && f.typ == protowire.VarintType:
			v.Width, err = f.int()
		case f.id == 3 && f.typ == protowire.VarintType:
			v.Height, err = f.int()
		}
		return err
	})
}

func decodePerson(s string) (*Person, error) {
	v := new(Person)
	return v, fields(s, func(f *field) error {
		switch {
		case f.typ != protowire.BytesType:
		case f.id == 1:
			v.ID = f.text
		case f.id == 2:
			v.DisplayName = f.text
		case f.id == 3:
			v.URL = f.text
		}
		return nil
	})
}

// pair reads a message of two strings.
func pair(s string) (first, second string, err error) {
	err = fields(s, func(f *field) error {
		switch {
		case f.typ != protowire.BytesType:
		case f.id == 1:
			first = f.text
		case f.id == 2:
			second = f.text
		}
		return nil
	})
	return first, second, err
}

func (m *Meta) decodeLink(s string) error {
	rel, url, err := pair(s)
	m.Links = append(m.Links, Link{Rel: rel, URL: url})
	return err
}

func (m *Meta) decodeCustom(s string) error {
	name, value, err := pair(s)
	if m.Custom == nil {
		m.Custom = make(map[string]string)
	}
	m.Custom[name] = value
	return err
}

func (c *ContentInfo) decode(s string) error {
	err := fields(s, func(f *field) error {
		switch {
		case f.id == 1 && f.typ == protowire.BytesType:
			c.Name = f.text
		case f.id == 2 && f.typ == protowire.BytesType:
			c.Type = f.text
		case f.id == 3 && f.typ == protowire.VarintType:
			if f.num > 1<<62 {
				return errors.New("size out of range")
			}
			c.Size = int64(f.num)
		case f.id == 4 && f.typ == protowire.BytesType:
			if len(f.text) != len(c.SHA256) {
				return fmt.Errorf("SHA-256 sum of %d bytes", len(f.text))
			}
			copy(c.SHA256[:], f.text)
		case f.id == 5 && f.typ == protowire.Fixed32Type:
			c.CRC32C = uint32(f.num)
		case f.id == 6 && f.typ == protowire.BytesType:
			c.Key = f.text
		case f.id == 7 && f.typ == protowire.VarintType:
			if f.num > 1<<62 {
				return errors.New("size out of range")
			}
			c.blocks.size = int64(f.num)
		case f.id == 8 && f.typ == protowire.BytesType:
			c.blocks.sums = f.text
		}
		return nil
	})
	if err == nil {
		err = c.blocks.check(c.Size)
	}
	return err
}
