package fill_test

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/heddle-go/heddle/objstore/internal/fill"
)

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

func TestBuffer(t *testing.T) {
	cut := io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(io.ErrUnexpectedEOF))
	for _, tc := range []struct {
		name string
		r    io.Reader
		want string
		err  error
	}{
		{"full", iotest.OneByteReader(strings.NewReader("abcdef")), "abcd", nil},
		{"short", strings.NewReader("ab"), "ab", io.EOF},
		{"error with the last bytes", iotest.DataErrReader(strings.NewReader("abc")), "abc", io.EOF},
		{"cut", cut, "ab", io.ErrUnexpectedEOF},
		{"silent", silent{}, "", io.ErrNoProgress},
	} {
		buf := make([]byte, 4)
		if n, err := fill.Buffer(tc.r, buf); string(buf[:n]) != tc.want || err != tc.err {
			t.Errorf("%s: %q, %v", tc.name, buf[:n], err)
		}
	}
}
