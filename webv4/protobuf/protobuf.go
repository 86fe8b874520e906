// Package protobuf lets interfaces of webv4 answer and take protocol buffers:
// where the reply of a handler, or the field tagged body, is a generated message.
//
//	api, err := webv4.New(&webv4.Options{Codecs: protobuf.Codecs()})
//
//	type show struct {
//		_  struct{} `route:"GET /2/users/show.json"`
//		ID int64    `query:"id"`
//	}
//	webv4.Handle(api, func(ctx context.Context, in *show) (*userpb.User, error) { … })
//
// The wire format is for clients that accept application/x-protobuf (or
// application/protobuf, application/vnd.google.protobuf) or ask for
// /2/users/show.pb. JSON is that of the protobuf specification with the names of
// the .proto file and with fields that are not set; XML and MessagePack are made
// of it. Fields are not trimmed or selected, and a message's rules are its own:
// the tags for constraints do not apply.
package protobuf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-go/heddle/webv4"
)

// Codecs are for Options.Codecs: the wire format, and JSON for messages.
func Codecs() []webv4.Codec { return []webv4.Codec{wire{}, text{}} }

// isMessage reports whether *t is a message.
func isMessage(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[proto.Message]())
}

// wire is the binary format.
type wire struct{}

var wireTypes = []string{"application/x-protobuf", "application/protobuf", "application/vnd.google.protobuf"}

func (wire) For(t reflect.Type) bool { return isMessage(t) }
func (wire) MediaTypes() []string    { return wireTypes }
func (wire) Suffix() string          { return ".pb" }

// Append is deterministic, so that the same message has the same entity tag.
func (wire) Append(b []byte, v any) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, v.(proto.Message))
	if err != nil {
		return b, fmt.Errorf("protobuf: %w", err)
	}
	return b, nil
}

func (wire) Read(data []byte, v any) error { return proto.Unmarshal(data, v.(proto.Message)) }

// text is JSON.
type text struct{}

var textTypes = []string{"application/json"}

func (text) For(t reflect.Type) bool { return isMessage(t) }
func (text) MediaTypes() []string    { return textTypes }
func (text) Suffix() string          { return "" }

// Append takes out the spaces that protojson puts in at random.
func (text) Append(b []byte, v any) ([]byte, error) {
	data, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(v.(proto.Message))
	if err != nil {
		return b, fmt.Errorf("protobuf: %w", err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return b, fmt.Errorf("protobuf: %w", err)
	}
	return append(b, compact.Bytes()...), nil
}

func (text) Read(data []byte, v any) error {
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, v.(proto.Message))
}
