package feed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Status is one post as the service, the queue and the database know it.
type Status struct {
	ID        int64  `motan:"id"`
	UID       int64  `motan:"uid"`
	CreatedAt int64  `motan:"created_at"` // Unix milliseconds
	Text      string `motan:"text"`
	Media     string `motan:"media"` // object id, empty if none
	Key       string `motan:"key"`   // the client's Idempotency-Key, empty if none
}

// statusFormat is the first byte of an encoded Status.
const statusFormat = 1

// AppendBinary appends s in the form that travels through the queue and lies
// in the database: a format byte, then the numbers as uvarints and the strings
// with their lengths.
func (s *Status) AppendBinary(b []byte) ([]byte, error) {
	if s.ID < 0 || s.UID < 0 || s.CreatedAt < 0 {
		return b, fmt.Errorf("feed: status %d: negative number", s.ID)
	}
	b = append(b, statusFormat)
	b = binary.AppendUvarint(b, uint64(s.ID))
	b = binary.AppendUvarint(b, uint64(s.UID))
	b = binary.AppendUvarint(b, uint64(s.CreatedAt))
	for _, v := range [...]string{s.Text, s.Media, s.Key} {
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
	}
	return b, nil
}

// UnmarshalBinary reads what AppendBinary wrote. It keeps no reference to b.
func (s *Status) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != statusFormat {
		return errors.New("feed: status: unknown format")
	}
	rest := b[1:]
	for _, f := range [...]struct {
		name string
		dst  *int64
	}{{"id", &s.ID}, {"uid", &s.UID}, {"created_at", &s.CreatedAt}} {
		v, n := binary.Uvarint(rest)
		if n <= 0 || v > 1<<63-1 {
			return fmt.Errorf("feed: status: bad %s at byte %d", f.name, len(b)-len(rest))
		}
		*f.dst, rest = int64(v), rest[n:]
	}
	for _, f := range [...]struct {
		name string
		dst  *string
	}{{"text", &s.Text}, {"media", &s.Media}, {"key", &s.Key}} {
		v, n := binary.Uvarint(rest)
		if n <= 0 || v > uint64(len(rest)-n) {
			return fmt.Errorf("feed: status: bad %s at byte %d", f.name, len(b)-len(rest))
		}
		*f.dst, rest = string(rest[n:n+int(v)]), rest[n+int(v):]
	}
	if len(rest) != 0 {
		return fmt.Errorf("feed: status: %d bytes after the end", len(rest))
	}
	return nil
}

// Created is when the status was made.
func (s *Status) Created() time.Time { return time.UnixMilli(s.CreatedAt) }

// Upload is a media object on its way in.
type Upload struct {
	Name string `motan:"name"`
	Type string `motan:"type"` // media type, e.g. image/png
	Data []byte `motan:"data"`
}

// The messages of the service tier (service "feed.Feed") …
type (
	updateRequest struct {
		UID   int64   `motan:"uid"`
		Text  string  `motan:"text"`
		Key   string  `motan:"key"`
		Media *Upload `motan:"media"`
	}
	showRequest struct {
		ID int64 `motan:"id"`
	}
	timelineRequest struct {
		UID   int64 `motan:"uid"`
		MaxID int64 `motan:"max_id"` // only ids up to this one; 0: no bound
		Count int   `motan:"count"`
	}
	timelineReply struct {
		Statuses []Status `motan:"statuses"` // newest first
	}
	mediaRequest struct {
		ID string `motan:"id"`
	}
)

// … and the error codes its business errors carry over Motan.
const (
	codeNoSuchStatus = 20101
	codeNoSuchMedia  = 20102
)
