package objstore

import (
	"encoding/hex"
	"fmt"
	"time"
	"unicode/utf8"
)

// Meta is the standard metadata that objects of every type have. Its JSON uses
// the names of Weibo's object schema.
type Meta struct {
	// ID names the object. Create makes one if it is zero.
	ID ID `json:"id,omitzero"`

	// Type is the name of the object's type. The library sets it.
	Type string `json:"object_type"`

	// Version counts the object's changes from 1. The library sets it; Update
	// wants the version that the change is based on.
	Version uint64 `json:"version"`

	// State is Active for whatever Get returns. The library sets it.
	State State `json:"state"`

	// Created and Updated are when the object was made and last changed, in
	// microseconds. The library sets them.
	Created time.Time `json:"create_at,omitzero"`
	Updated time.Time `json:"updated,omitzero"`

	// Expires is when the object ends by itself. Zero means never, or, on
	// Create, after the Lifetime of its type.
	Expires time.Time `json:"expires,omitzero"`

	DisplayName string  `json:"display_name,omitempty"`
	Summary     string  `json:"summary,omitempty"`
	URL         string  `json:"url,omitempty"` // the page of the object
	Image       *Image  `json:"image,omitempty"`
	Author      *Person `json:"author,omitempty"`

	Tags   []string          `json:"tags,omitempty"`
	Links  []Link            `json:"links,omitempty"`
	Custom map[string]string `json:"custom_data,omitempty"`

	// Contents are the bytes that belong to the object and live in the content
	// store. What is added must come from Collection.Upload.
	Contents []ContentInfo `json:"contents,omitempty"`
}

// Image is the picture that stands for an object.
type Image struct {
	URL    string `json:"url"`
	Width  int    `json:"width,omitempty"`  // in pixels, 0 if not known
	Height int    `json:"height,omitempty"` // in pixels, 0 if not known
}

// Person is who made an object.
type Person struct {
	ID          string `json:"id,omitempty"`
	DisplayName string `json:"display_name,omitempty"`
	URL         string `json:"url,omitempty"`
}

// Link is another form of the object: Rel says which, "mobile" or "source".
type Link struct {
	Rel string `json:"rel"`
	URL string `json:"url"`
}

// ContentInfo describes one content of an object.
type ContentInfo struct {
	Name   string `json:"name"` // unique within the object
	Type   string `json:"content_type,omitempty"`
	Size   int64  `json:"size"` // in bytes
	SHA256 SHA256 `json:"sha256"`
	CRC32C uint32 `json:"crc32c"`

	// Key is the content's name in the content store.
	Key string `json:"-"`

	blocks blocks  // sums of its parts
	upload *upload // nil once it is part of an object
}

// Content returns the content of that name, or nil.
func (m *Meta) Content(name string) *ContentInfo {
	for i := range m.Contents {
		if m.Contents[i].Name == name {
			return &m.Contents[i]
		}
	}
	return nil
}

// SHA256 is a SHA-256 sum. Its text is 64 hex digits.
type SHA256 [32]byte

// String returns the hex digits.
func (s SHA256) String() string { return hex.EncodeToString(s[:]) }

// MarshalText returns the hex digits.
func (s SHA256) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText reads 64 hex digits.
func (s *SHA256) UnmarshalText(b []byte) error {
	if len(b) != 2*len(s) {
		return fmt.Errorf("objstore: a SHA-256 sum of %d digits, want %d", len(b), 2*len(s))
	}
	var sum SHA256
	if _, err := hex.Decode(sum[:], b); err != nil {
		return fmt.Errorf("objstore: SHA-256 sum: %w", err)
	}
	*s = sum
	return nil
}

// State is what became of an object.
type State uint8

const (
	Active  State = iota // it is there
	Deleted              // it can be undeleted until it is purged
)

var stateNames = [...]string{"active", "deleted"}

// String returns the state's lower-case name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MarshalText returns the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *State) UnmarshalText(b []byte) error {
	for i, name := range stateNames {
		if string(b) == name {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("objstore: unknown state %.20q", b)
}

// Limits of metadata. They keep records small enough to be read by the dozen.
const (
	maxText     = 4 << 10 // bytes of one string
	maxItems    = 256     // tags, links, custom fields and contents, each
	maxMetaSize = 64 << 10
)

// check finds what is wrong with metadata that is to be stored.
func (m *Meta) check() error {
	text := func(field, s string) error {
		if len(s) > maxText {
			return fmt.Errorf("%w: %s of %d bytes, at most %d allowed", ErrInvalid, field, len(s), maxText)
		}
		if !utf8.ValidString(s) {
			return fmt.Errorf("%w: %s is not UTF-8", ErrInvalid, field)
		}
		return nil
	}
	count := func(field string, n int) error {
		if n > maxItems {
			return fmt.Errorf("%w: %d %s, at most %d allowed", ErrInvalid, n, field, maxItems)
		}
		return nil
	}
	if us := m.Expires.UnixMicro(); !m.Expires.IsZero() && (us < minMicro || us > maxMicro || m.Expires.Year() > 9999) {
		return fmt.Errorf("%w: expires in the year %d", ErrInvalid, m.Expires.Year())
	}
	for _, err := range [...]error{
		text("display_name", m.DisplayName), text("summary", m.Summary), text("url", m.URL),
		count("tags", len(m.Tags)), count("links", len(m.Links)), count("custom_data fields", len(m.Custom)),
		count("contents", len(m.Contents)),
	} {
		if err != nil {
			return err
		}
	}
	if m.Image != nil {
		if err := text("image.url", m.Image.URL); err != nil {
			return err
		}
		if m.Image.Width < 0 || m.Image.Height < 0 {
			return fmt.Errorf("%w: image of %d x %d pixels", ErrInvalid, m.Image.Width, m.Image.Height)
		}
	}
	if m.Author != nil {
		for _, err := range [...]error{text("author.id", m.Author.ID), text("author.display_name", m.Author.DisplayName), text("author.url", m.Author.URL)} {
			if err != nil {
				return err
			}
		}
	}
	for i, tag := range m.Tags {
		if tag == "" {
			return fmt.Errorf("%w: tag %d is empty", ErrInvalid, i)
		}
		if err := text("tags", tag); err != nil {
			return err
		}
	}
	for _, l := range m.Links {
		if err := text("links.rel", l.Rel); err != nil {
			return err
		}
		if err := text("links.url", l.URL); err != nil {
			return err
		}
	}
	for k, v := range m.Custom {
		if err := text("custom_data name", k); err != nil {
			return err
		}
		if err := text("custom_data value", v); err != nil {
			return err
		}
	}
	for i := range m.Contents {
		c := &m.Contents[i]
		if err := text("contents.name", c.Name); err != nil {
			return err
		}
		if err := text("contents.content_type", c.Type); err != nil {
			return err
		}
		if m.Content(c.Name) != c {
			return fmt.Errorf("%w: two contents are called %q", ErrInvalid, c.Name)
		}
	}
	return nil
}
