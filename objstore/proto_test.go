package objstore_test

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/heddle-go/heddle/objstore"
)

// recordDescriptor reads record.proto, as far as that goes in its use of the
// language.
func recordDescriptor(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	text, err := os.ReadFile("record.proto")
	if err != nil {
		t.Fatal(err)
	}
	file := &descriptorpb.FileDescriptorProto{Name: proto.String("record.proto"), Package: proto.String("heddle.objstore"), Syntax: proto.String("proto3")}
	scalars := map[string]descriptorpb.FieldDescriptorProto_Type{
		"uint32": descriptorpb.FieldDescriptorProto_TYPE_UINT32, "uint64": descriptorpb.FieldDescriptorProto_TYPE_UINT64,
		"int64": descriptorpb.FieldDescriptorProto_TYPE_INT64, "fixed32": descriptorpb.FieldDescriptorProto_TYPE_FIXED32,
		"string": descriptorpb.FieldDescriptorProto_TYPE_STRING, "bytes": descriptorpb.FieldDescriptorProto_TYPE_BYTES,
	}
	field := func(name, typ string, number int, repeated bool) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: proto.Int32(int32(number)), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
		if repeated {
			f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}
		if s, ok := scalars[typ]; ok {
			f.Type = s.Enum()
		} else {
			f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(".heddle.objstore."+typ)
		}
		return f
	}
	line := regexp.MustCompile(`^  (repeated )?(map<string, string>|\w+) (\w+) = (\d+);`)
	for l := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(l), "message "); ok {
			file.MessageType = append(file.MessageType, &descriptorpb.DescriptorProto{Name: proto.String(strings.TrimSuffix(name, " {"))})
			continue
		}
		m := line.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		number, err := strconv.Atoi(m[4])
		if err != nil {
			t.Fatal(err)
		}
		msg := file.MessageType[len(file.MessageType)-1]
		if !strings.HasPrefix(m[2], "map") {
			msg.Field = append(msg.Field, field(m[3], m[2], number, m[1] != ""))
			continue
		}
		msg.NestedType = append(msg.NestedType, &descriptorpb.DescriptorProto{
			Name:    proto.String("CustomDataEntry"),
			Field:   []*descriptorpb.FieldDescriptorProto{field("key", "string", 1, false), field("value", "string", 2, false)},
			Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
		})
		msg.Field = append(msg.Field, field(m[3], msg.GetName()+".CustomDataEntry", number, true))
	}
	fd, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// What the library writes by hand is what record.proto says, and the other way
// round.
func TestRecordIsProtobuf(t *testing.T) {
	meta := storedMeta()
	written := objstore.EncodeRecord(&meta, 2, 7, []string{"url\x00x", "tags\x00y"}, []byte("payload"))
	msg := dynamicpb.NewMessage(recordDescriptor(t).Messages().ByName("Record"))
	if err := (proto.UnmarshalOptions{DiscardUnknown: false}).Unmarshal(written, msg); err != nil {
		t.Fatal(err)
	}
	var unknown func(m protoreflect.Message)
	unknown = func(m protoreflect.Message) {
		if len(m.GetUnknown()) > 0 {
			t.Errorf("%s has fields that record.proto does not have: %x", m.Descriptor().Name(), m.GetUnknown())
		}
		m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case fd.IsMap() || fd.Message() == nil:
			case fd.IsList():
				for i := range v.List().Len() {
					unknown(v.List().Get(i).Message())
				}
			default:
				unknown(v.Message())
			}
			return true
		})
	}
	unknown(msg)
	get := func(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
		return m.Get(m.Descriptor().Fields().ByName(name))
	}
	m := get(msg, "meta").Message()
	content := get(m, "contents").List().Get(0).Message()
	if get(msg, "codec").Uint() != 2 || get(msg, "schema").Uint() != 7 || string(get(msg, "payload").Bytes()) != "payload" ||
		get(msg, "entries").List().Len() != 2 || get(m, "display_name").String() != meta.DisplayName ||
		get(m, "updated").Int() != meta.Updated.UnixMicro() || get(m, "tags").List().Len() != 2 || get(m, "custom_data").Map().Len() != 3 ||
		get(get(m, "image").Message(), "width").Uint() != 640 || get(get(m, "author").Message(), "display_name").String() != "Ada" ||
		get(m, "links").List().Len() != 2 || get(content, "crc32c").Uint() != 1<<31 || get(content, "size").Int() != 1<<40 ||
		!bytes.Equal(get(content, "sha256").Bytes(), meta.Contents[0].SHA256[:]) || get(content, "key").String() != "1/aa/bb" {
		t.Errorf("read as %v", msg)
	}
	theirs, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, again, err := objstore.DecodeRecord(theirs); err != nil || !bytes.Equal(again, written) {
		t.Errorf("a record that protobuf wrote is read as %x, was %x, %v", again, written, err)
	}
}
