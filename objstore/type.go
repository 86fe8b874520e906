package objstore

import (
	"errors"
	"fmt"
	"reflect"
	"time"
)

// Type declares a type of objects whose value is a T. For protobuf messages T
// is the pointer, *pb.Image; the value is then never nil.
type Type[T any] struct {
	// Number is the type's part of its objects' ids, from 1 on. It and Name must
	// stay as they are as long as there are objects.
	Number uint32

	// Name is the object_type of the metadata: 1 to 32 of a-z, 0-9, '_'.
	Name string

	// Codec writes new values. nil means Protobuf if T is a protobuf message,
	// Raw if it is []byte, JSON otherwise.
	Codec Codec

	// OtherCodecs read values that were written before the codec changed. Those
	// of this package need not be here.
	OtherCodecs []Codec

	// Schema is the version of T that is stored with each value. When a stored
	// one is below it, Upgrade decodes; when it is above, reading fails.
	Schema uint32

	// Upgrade decodes a value that was written with an earlier Schema. nil means
	// that the codec can read all of them into T.
	Upgrade func(schema uint32, codec Codec, data []byte, v *T) error

	// Required names metadata that objects must have: "display_name", "summary",
	// "url", "image", "author", "tags", "links", "contents".
	Required []string

	// Check is asked before an object is stored; its error is returned wrapped in
	// ErrInvalid. It may also correct the object.
	Check func(obj *Object[T]) error

	// Indexes are what objects can be found by. An object that was stored before
	// an index was declared gets its entries with its next version.
	Indexes []Index[T]

	// History is how many versions before the present one are kept. 0 means
	// none, at most 1000. When it becomes 0, those that are kept stay until the
	// object is purged.
	History int

	// Committed is called after a change of an object is durable, on the goroutine
	// that made it, with the object as it was stored; Delete, Undelete and Purge
	// do not call it. The object must not be changed.
	Committed func(obj *Object[T])

	// Lifetime is after what time an object ends by itself, unless Expires says
	// something else. 0 means never.
	Lifetime time.Duration

	// MaxValue bounds an encoded value in bytes; what is larger belongs into a
	// content. 0 means 256 KiB, at most 16 MiB.
	MaxValue int
}

// Object is one object: its metadata and its value.
type Object[T any] struct {
	Meta
	Value T `json:"value"`
}

// required maps the names for Type.Required to whether metadata has it.
var required = map[string]func(*Meta) bool{
	"display_name": func(m *Meta) bool { return m.DisplayName != "" },
	"summary":      func(m *Meta) bool { return m.Summary != "" },
	"url":          func(m *Meta) bool { return m.URL != "" },
	"image":        func(m *Meta) bool { return m.Image != nil },
	"author":       func(m *Meta) bool { return m.Author != nil },
	"tags":         func(m *Meta) bool { return len(m.Tags) > 0 },
	"links":        func(m *Meta) bool { return len(m.Links) > 0 },
	"contents":     func(m *Meta) bool { return len(m.Contents) > 0 },
}

const (
	maxTypeName     = 32
	defaultMaxValue = 256 << 10
	largestMaxValue = 16 << 20
)

// kind is what the library needs to know of a type, whatever T is.
type kind struct {
	number   uint32
	name     string
	schema   uint32
	required []string
	lifetime time.Duration
	maxValue int
	history  int
	codec    Codec
	codecs   [256]Codec // for reading, by number
}

func (t *Type[T]) kind() (*kind, error) {
	k := &kind{
		number: t.Number, name: t.Name, schema: t.Schema, required: t.Required,
		lifetime: t.Lifetime, maxValue: t.MaxValue, history: t.History, codec: t.Codec,
	}
	if k.codec == nil {
		k.codec = codecFor(reflect.TypeFor[T]())
	}
	if k.maxValue == 0 {
		k.maxValue = defaultMaxValue
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("objstore: Type %d %q: "+format, append([]any{t.Number, t.Name}, args...)...))
	}
	if k.number == 0 {
		bad("Number 0: want at least 1")
	}
	if err := checkName(k.name); err != nil {
		bad("Name: %w", err)
	}
	for _, name := range k.required {
		if required[name] == nil {
			bad("Required: no metadata is called %q", name)
		}
	}
	if err := checkIndexes(t.Indexes); err != nil {
		bad("Indexes: %w", err)
	}
	if k.history < 0 || k.history > maxHistory {
		bad("History %d: want 0 to %d", k.history, maxHistory)
	}
	if k.lifetime < 0 {
		bad("Lifetime %v: negative", k.lifetime)
	}
	if k.maxValue < 1 || k.maxValue > largestMaxValue {
		bad("MaxValue %d: want 1 to %d", k.maxValue, largestMaxValue)
	}
	for _, c := range []Codec{Protobuf{}, JSON{}, Msgpack{}, Raw{}} {
		k.codecs[c.Number()] = c
	}
	for _, c := range append(t.OtherCodecs[:len(t.OtherCodecs):len(t.OtherCodecs)], k.codec) {
		n := c.Number()
		if own := k.codecs[n]; own != nil && reflect.TypeOf(own) != reflect.TypeOf(c) {
			bad("codec %T has the number %d of %T", c, n, own)
		} else if own == nil && n < 64 {
			bad("codec %T has the number %d: want 64 to 255", c, n)
		}
		k.codecs[n] = c
	}
	if reflect.TypeFor[T]().Kind() == reflect.Interface {
		bad("%v is an interface, which no codec can make", reflect.TypeFor[T]())
	}
	return k, errors.Join(errs...)
}

// checkName checks the name of a type.
func checkName(s string) error {
	if s == "" || len(s) > maxTypeName {
		return fmt.Errorf("%d bytes, want 1 to %d", len(s), maxTypeName)
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return fmt.Errorf("%q: want only a-z, 0-9 and _", s)
		}
	}
	return nil
}

// codecFor is the codec of a type that names none.
func codecFor(t reflect.Type) Codec {
	v := reflect.New(t)
	if t.Kind() == reflect.Pointer {
		v = reflect.New(t.Elem())
	}
	if _, ok := message(v.Interface()); ok {
		return Protobuf{}
	}
	if t == reflect.TypeFor[[]byte]() {
		return Raw{}
	}
	return JSON{}
}

// values encodes and decodes the values of a type. What T is was looked up
// once; per value it costs an allocation if T is a pointer.
type values[T any] struct {
	kind    *kind
	upgrade func(uint32, Codec, []byte, *T) error
	elem    reflect.Type // what T points to; nil if T is no pointer
}

func newValues[T any](t *Type[T], k *kind) values[T] {
	v := values[T]{kind: k, upgrade: t.Upgrade}
	if t := reflect.TypeFor[T](); t.Kind() == reflect.Pointer {
		v.elem = t.Elem()
	}
	return v
}

// target is what codecs get for v.
func (vs *values[T]) target(v *T) any {
	if vs.elem != nil {
		return any(*v)
	}
	return v
}

// present returns an error for a nil pointer.
func (vs *values[T]) present(v *T) error {
	if vs.elem != nil && reflect.ValueOf(v).Elem().IsNil() {
		return fmt.Errorf("%w: nil value", ErrInvalid)
	}
	return nil
}

func (vs *values[T]) append(dst []byte, v *T) ([]byte, error) {
	if err := vs.present(v); err != nil { // Check may have changed it
		return dst, err
	}
	start := len(dst)
	dst, err := vs.kind.codec.Append(dst, vs.target(v))
	if err != nil {
		return dst, fmt.Errorf("%w: value not encoded: %w", ErrInvalid, err)
	}
	if size := len(dst) - start; size > vs.kind.maxValue {
		return dst, fmt.Errorf("%w: value of %d bytes, at most %d allowed", ErrInvalid, size, vs.kind.maxValue)
	}
	return dst, nil
}

func (vs *values[T]) decode(r *record, v *T) error {
	codec := vs.kind.codecs[r.codec]
	if codec == nil {
		return fmt.Errorf("%w: value of codec %d, which the type does not know", ErrCorrupt, r.codec)
	}
	if r.schema > vs.kind.schema {
		return fmt.Errorf("objstore: value of schema %d, this program knows up to %d", r.schema, vs.kind.schema)
	}
	if vs.elem != nil {
		reflect.ValueOf(v).Elem().Set(reflect.New(vs.elem))
	}
	var err error
	if vs.upgrade != nil && r.schema < vs.kind.schema {
		err = vs.upgrade(r.schema, codec, r.payload, v)
	} else {
		err = codec.Decode(r.payload, vs.target(v))
	}
	if err != nil {
		return fmt.Errorf("%w: value not decoded: %w", ErrCorrupt, err)
	}
	return nil
}
