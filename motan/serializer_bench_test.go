package motan

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkSerializers writes and reads the same values with each serializer.
func BenchmarkSerializers(b *testing.B) {
	text, list := strings.Repeat("x", 1024), []string{"one", "two", "three"}
	user := &benchUser{7, "ray", 30, "somewhere", list, map[string]string{"k": "v"}, []*benchUser{{ID: 8}, {ID: 9}}}
	for _, s := range []Serializer{Simple{}, Breeze{}, Hessian2{}, JSON{}, Msgpack{}} {
		name := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", s), "motan."))
		bench(b, name+"/value=1KB", s, &text)
		bench(b, name+"/value=struct", s, user)
	}
}

type benchUser struct {
	ID      int64
	Name    string
	Age     int32
	City    string
	Tags    []string
	Extra   map[string]string
	Friends []*benchUser
}

func bench[T any](b *testing.B, name string, s Serializer, v *T) {
	body, err := s.Append(nil, v)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("do=write/serializer="+name, func(b *testing.B) {
		buf := make([]byte, 0, 2*len(body))
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Append(buf, v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("do=read/serializer="+name, func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			var to T
			if err := s.Decode(body, &to); err != nil {
				b.Fatal(err)
			}
		}
	})
}
