package objstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The layout of an object's number, high to low: seconds since 3 May 1986
// 05:51:03 UTC, 4 bits IDC, 2 bits business, 15 bits sequence, 1 bit standby. It
// is the layout of Weibo's post and object ids, so their numbers read right here.
const (
	epoch         = 515483463 // Unix seconds of the layout's second 0
	secondShift   = 22
	idcShift      = 18
	businessShift = 16
	sequenceShift = 1
	sequenceBits  = 15
	secondBits    = 31 // until 21 May 2054

	maxIDC      = 1<<4 - 1
	maxBusiness = 1<<2 - 1

	// MaxNumber is the largest object number: 53 bits, so that a number is exact
	// in JavaScript and every other user of 64-bit floats.
	MaxNumber = 1<<53 - 1
)

// ID names one object: the number of its type and either its own number, which
// is unique across types, or a digest of what it is about. Their texts are
// "1034:4301288616219477" and "2003022:3c979425f3083a2d5aee5e8af2c810fc". IDs
// are comparable; the zero ID names nothing.
type ID struct {
	Type   uint32
	Number int64
	Digest Digest // zero in ids with a Number
}

// Digest is the second half of an id that is made from something, so that
// storing the same thing twice finds the first: see URLID and ContentID.
type Digest [16]byte

// URLID is the id of the object about the page at url. It takes the URL as it
// is: parameters that do not matter must be gone already.
func URLID(typ uint32, url string) ID { return ContentID(typ, sha256.Sum256([]byte(url))) }

// ContentID is the id of the object about the content with this sum. It uses
// half of it; who makes two contents with the same 128 bits needs 2^64 tries.
func ContentID(typ uint32, sum SHA256) ID { return ID{Type: typ, Digest: Digest(sum[:16])} }

// ParseID reads the text form of an ID: two decimal numbers without signs or
// leading zeros and a colon between them, or 32 lower-case hex digits behind the
// colon. Errors wrap ErrBadID.
func ParseID(s string) (ID, error) {
	typ, num, ok := strings.Cut(s, ":")
	if !ok {
		return ID{}, badID(s, "wants type:number")
	}
	t, ok := parseDecimal(typ, 1<<32-1)
	if !ok {
		return ID{}, badID(s, "the type wants 1 to 4294967295")
	}
	if len(num) == 2*len(Digest{}) {
		id := ID{Type: uint32(t)}
		if _, err := hex.Decode(id.Digest[:], []byte(num)); err != nil || id.Digest == (Digest{}) || strings.ToLower(num) != num {
			return ID{}, badID(s, "a digest is 32 of 0-9 and a-f, not all 0")
		}
		return id, nil
	}
	n, ok := parseDecimal(num, MaxNumber)
	if !ok {
		return ID{}, badID(s, "the number wants 1 to 9007199254740991")
	}
	return ID{Type: uint32(t), Number: int64(n)}, nil
}

func badID(s, why string) error {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return fmt.Errorf("%w: %q: %s", ErrBadID, s, why)
}

// parseDecimal is strict so that one object has one text: digits only, no
// leading zero, 1 to limit.
func parseDecimal(s string, limit uint64) (uint64, bool) {
	if len(s) == 0 || len(s) > 19 || s[0] == '0' {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, n <= limit
}

// String returns the text form, "1034:4301288616219477".
func (id ID) String() string { return string(id.appendText(make([]byte, 0, 43))) }

func (id ID) appendText(b []byte) []byte {
	b = append(strconv.AppendUint(b, uint64(id.Type), 10), ':')
	if id.Digest != (Digest{}) {
		return hex.AppendEncode(b, id.Digest[:])
	}
	return strconv.AppendInt(b, id.Number, 10)
}

// AppendText appends the text form; it never fails.
func (id ID) AppendText(b []byte) ([]byte, error) { return id.appendText(b), nil }

// MarshalText returns the text form, so that JSON shows IDs as strings.
func (id ID) MarshalText() ([]byte, error) { return id.appendText(nil), nil }

// UnmarshalText is ParseID.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// valid reports whether id can name an object.
func (id ID) valid() bool {
	if id.Digest != (Digest{}) {
		return id.Type > 0 && id.Number == 0
	}
	return id.Type > 0 && id.Number > 0 && id.Number <= MaxNumber
}

// Short returns the base-62 form of the number, "I1IGF4Ud1": see Short. An id
// with a digest has none.
func (id ID) Short() string { return Short(id.Number) }

// Time is the second in which the number was made. A busy generator borrows
// from the future, so it can be up to GeneratorOptions.Ahead late. Time, Node and
// Business say nothing about an id with a digest.
func (id ID) Time() time.Time { return time.Unix(id.Number>>secondShift+epoch, 0) }

// Node is the IDC part of the number: the node that made it, 0 to 15.
func (id ID) Node() int { return int(id.Number >> idcShift & maxIDC) }

// Business is the business part of the number, 0 to 3.
func (id ID) Business() int { return int(id.Number >> businessShift & maxBusiness) }

const base62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// digit62 maps a base-62 character to its value, others to 0xff.
var digit62 = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(base62) {
		t[base62[i]] = byte(i)
	}
	return t
}()

// Short returns the short form of a number: the decimal digits cut from the
// right into groups of seven, each group as four base-62 characters. It is the
// form of Weibo's post URLs: 4404101091169383 is "I1IGF4Ud1". Numbers below 1
// or above MaxNumber have none: the result is empty.
func Short(n int64) string {
	if n < 1 || n > MaxNumber {
		return ""
	}
	var b [12]byte
	i := len(b)
	for {
		group := n % 1e7
		n /= 1e7
		for j := 0; j < 4; j++ {
			if n == 0 && group == 0 {
				break // the first group is not padded
			}
			i--
			b[i] = base62[group%62]
			group /= 62
		}
		if n == 0 {
			return string(b[i:])
		}
	}
}

// ParseShort reads a short form. It accepts only what Short returns, so one
// number has one short form. Errors wrap ErrBadID.
func ParseShort(s string) (int64, error) {
	if len(s) == 0 || len(s) > 12 {
		return 0, badID(s, "a short form has 1 to 12 characters")
	}
	if s[0] == '0' {
		return 0, badID(s, "a short form does not begin with 0")
	}
	var n int64
	for rest := s; rest != ""; {
		cut := (len(rest)-1)%4 + 1
		var group int64
		for i := range cut {
			d := digit62[rest[i]]
			if d == 0xff {
				return 0, badID(s, "a short form has only 0-9 a-z A-Z")
			}
			group = group*62 + int64(d)
		}
		if group >= 1e7 {
			return 0, badID(s, "no short form of a number")
		}
		if n > (MaxNumber-group)/1e7 {
			return 0, badID(s, "the number is above 9007199254740991")
		}
		n = n*1e7 + group
		rest = rest[cut:]
	}
	return n, nil
}
