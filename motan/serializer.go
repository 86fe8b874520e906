package motan

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// Serializer turns values into bodies and back. A client takes any; a server answers
// in those of this package and in no others, since the number in a request's header
// must mean the same everywhere. One of a user's own is thus for other servers, such as
// those that have hprose, number 4. The rules:
//
//  1. Append appends v's form to dst and returns the result. It keeps neither.
//  2. Decode stores what b holds in the value that v points to. It keeps no
//     reference to b.
//  3. Both are safe for concurrent use and return an error for what they
//     cannot handle; they do not panic on any input.
//  4. ID is the number in the frame header, 0 to 31, and never changes.
//  5. Given Args, or a struct with Positional, they treat each value as an
//     argument of its own. Decode returns an error when b holds fewer than
//     asked for, or more; into a *Args it stores all that b holds, as values of
//     the types that any gets, if the serialization tells types apart.
type Serializer interface {
	ID() byte
	Append(dst []byte, v any) ([]byte, error)
	Decode(b []byte, v any) error
}

// Args are the arguments of a method that takes several of them, or none. On the
// wire they stand one behind the other. To decode, each is a pointer. A method
// with one argument needs no Args.
type Args []any

// Positional, embedded in a struct, makes each of its exported fields an
// argument of its own, in the order in which they are declared:
//
//	type joinArgs struct {
//		motan.Positional
//		Name  string
//		Count int64
//	}
//
// is what join(String, long) takes. Such a struct cannot be part of another value.
type Positional struct{}

var (
	positionalType   = reflect.TypeFor[Positional]()
	positionalFields sync.Map // reflect.Type → []int, the exported fields; nil for a type without Positional
)

// positional returns which fields of a struct are arguments, nil if it does not
// embed Positional.
func positional(t reflect.Type) []int {
	if f, ok := t.FieldByName("Positional"); !ok || f.Type != positionalType || len(f.Index) != 1 {
		return nil
	}
	fields := []int{}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && f.Type != positionalType {
			fields = append(fields, i)
		}
	}
	return fields
}

// arguments returns the arguments that v stands for, as pointers if v is one; ok
// is false if v is a single value, or a *Args to decode into.
func arguments(v any) (args Args, ok bool) {
	switch v := v.(type) {
	case Args:
		return v, true
	case nil, *Args, string, *string, []byte, *[]byte, int64, *int64, map[string]string, *map[string]string:
		return nil, false
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer {
		rv = rv.Elem()
	}
	if rv.Kind() != reflect.Struct {
		return nil, false
	}
	t := rv.Type()
	known, seen := positionalFields.Load(t)
	if !seen {
		known, _ = positionalFields.LoadOrStore(t, positional(t))
	}
	fields := known.([]int)
	if fields == nil {
		return nil, false
	}
	args = make(Args, 0, len(fields))
	for _, i := range fields {
		if f := rv.Field(i); f.CanAddr() {
			args = append(args, f.Addr().Interface())
		} else {
			args = append(args, f.Interface())
		}
	}
	return args, true
}

// Serialization numbers of the frame header.
const (
	idHessian2 = 0
	idGRPCPb   = 1
	idJSON     = 2
	idMsgpack  = 3
	idProtobuf = 5
	idSimple   = 6
	idBreeze   = 8
)

// ErrSerialization is wrapped by errors about a body that cannot be encoded or decoded.
var ErrSerialization = errors.New("motan: serialization")

// serializers are the ones a server understands, by number.
var serializers = [32]Serializer{
	idHessian2: Hessian2{}, idGRPCPb: GRPCPb{}, idJSON: JSON{}, idMsgpack: Msgpack{}, idProtobuf: Protobuf{}, idSimple: Simple{}, idBreeze: Breeze{},
}

func serializerFor(id byte) (Serializer, error) {
	if s := serializers[id&31]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%w: number %d is not supported", ErrSerialization, id)
}

// answerable returns an error if no answer in a serialization fits into what resp
// points to, so that the call need not be made. Serializers of others have no say.
func answerable(s Serializer, resp any) error {
	switch resp.(type) {
	case nil, *Raw:
		return nil
	}
	var err error
	switch s.(type) {
	case Simple:
		switch resp.(type) {
		case *string, *[]byte, *int64, *map[string]string, *any, *Args:
			return nil // without a look at the table
		}
		_, err = codecOf(reflect.TypeOf(resp).Elem())
	case Breeze, Hessian2:
		if _, several := arguments(resp); !several {
			_, err = planOf(reflect.TypeOf(resp).Elem())
		}
	case Protobuf:
		switch resp.(type) {
		case *bool, *byte, *int16, *int32, *int64, *int, *float32, *float64, *string:
		default:
			if _, several := arguments(resp); !several && message(resp) == nil {
				err = fmt.Errorf("%w: protobuf: %T is no message and no plain value", ErrSerialization, resp)
			}
		}
	case GRPCPb:
		_, err = soleMessage(resp)
	}
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// argument is what a serializer is to be given for a request's v. Only JSON tells
// a request's single argument from an answer: it stands in an array.
func argument(s Serializer, v any) any {
	if s.ID() != idJSON {
		return v
	}
	if _, all := v.(*Args); all {
		return v
	}
	if _, several := arguments(v); several {
		return v
	}
	return Args{v}
}

// decodeArgument decodes a request's body into v.
func decodeArgument(s Serializer, b []byte, v any) error {
	if len(b) > 0 {
		v = argument(s, v)
	}
	return s.Decode(b, v)
}

// inflate unpacks a gzip body of at most limit bytes. It returns errNoRoom if there
// is none for it.
func inflate(b []byte, limit int, room *reservation) ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: gzip body: %w", ErrSerialization, err)
	}
	out, err := readAll(zr, 4*len(b), limit, room)
	switch {
	case err == errNoRoom:
		return nil, err
	case errors.Is(err, errTooLarge):
		return nil, fmt.Errorf("%w: gzip body inflates beyond %d bytes", errTooLarge, limit)
	case err != nil:
		return nil, fmt.Errorf("%w: gzip body: %w", ErrSerialization, err)
	}
	return out, nil
}
