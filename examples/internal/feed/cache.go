package feed

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// statusCodec keeps statuses in the cache in the form they have everywhere else.
type statusCodec struct{}

func (statusCodec) Append(dst []byte, v any) ([]byte, error) {
	return v.(*Status).AppendBinary(dst)
}

func (statusCodec) Decode(data []byte, v any) error {
	return v.(*Status).UnmarshalBinary(data)
}

// timelineCodec is a page of them: a count, then each with its length.
type timelineCodec struct{}

func (timelineCodec) Append(dst []byte, v any) ([]byte, error) {
	page := *v.(*[]Status)
	dst = binary.AppendUvarint(dst, uint64(len(page)))
	var one []byte
	for i := range page {
		var err error
		if one, err = page[i].AppendBinary(one[:0]); err != nil {
			return dst, err
		}
		dst = binary.AppendUvarint(dst, uint64(len(one)))
		dst = append(dst, one...)
	}
	return dst, nil
}

// smallestStatus is the least a status takes on a page, its length included.
const smallestStatus = 8

func (timelineCodec) Decode(data []byte, v any) error {
	count, n := binary.Uvarint(data)
	if n <= 0 || count > uint64(len(data)/smallestStatus) {
		return errors.New("feed: timeline page: bad count")
	}
	data = data[n:]
	page := make([]Status, count)
	for i := range page {
		size, n := binary.Uvarint(data)
		if n <= 0 || size > uint64(len(data)-n) {
			return fmt.Errorf("feed: timeline page: bad length of status %d", i)
		}
		if err := page[i].UnmarshalBinary(data[n : n+int(size)]); err != nil {
			return fmt.Errorf("feed: timeline page: status %d: %w", i, err)
		}
		data = data[n+int(size):]
	}
	if len(data) != 0 {
		return fmt.Errorf("feed: timeline page: %d bytes after the end", len(data))
	}
	*v.(*[]Status) = page
	return nil
}
