package motan

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// goldenFrame is one frame that motan-go v1.2.0 sent.
type goldenFrame struct {
	title, service, method, flags string
	request                       bool
	meta, body                    int
	bytes                         []byte
}

var titleLine = regexp.MustCompile(`^# (REQ|RES) (\S+) svc=(\S+) method=(\S+) flags=(\S+) meta=(\d+) body=(\d+)$`)

func goldenFrames(t testing.TB) []goldenFrame {
	t.Helper()
	text, err := os.ReadFile("testdata/motan2.txt")
	if err != nil {
		t.Fatal(err)
	}
	var frames []goldenFrame
	lines := strings.Split(string(text), "\n")
	for i := 0; i+1 < len(lines); i++ {
		m := titleLine.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		b, err := hex.DecodeString(strings.TrimSpace(lines[i+1]))
		if err != nil {
			t.Fatalf("line %d: %v", i+2, err)
		}
		f := goldenFrame{title: fmt.Sprintf("%s %s %s %s line %d", m[1], m[2], m[4], m[5], i+1), request: m[1] == "REQ", service: m[3], method: m[4], flags: m[5], bytes: b}
		fmt.Sscan(m[6], &f.meta)
		fmt.Sscan(m[7], &f.body)
		frames = append(frames, f)
	}
	if len(frames) < 70 {
		t.Fatalf("only %d golden frames", len(frames))
	}
	return frames
}

func readFrame(b []byte) (*frame, error) {
	f := new(frame)
	err := f.read(bufio.NewReaderSize(bytes.NewReader(b), 64), 10<<20)
	return f, err
}

func TestGoldenFramesDecode(t *testing.T) {
	for _, g := range goldenFrames(t) {
		f, err := readFrame(g.bytes)
		if err != nil {
			t.Errorf("%s: %v", g.title, err)
			continue
		}
		if len(f.meta) != g.meta || len(f.body) != g.body || f.response() == g.request {
			t.Errorf("%s: meta %d, body %d, response %v", g.title, len(f.meta), len(f.body), f.response())
		}
		flags := map[string]bool{
			"exception": f.status == statusException, "oneway": f.oneWay(), "gzip": f.kind&bitGzip != 0, "heartbeat": f.heartbeat(), "proxy": f.kind&bitProxy != 0,
		}
		for name, set := range flags {
			if set != strings.Contains(g.flags, name) {
				t.Errorf("%s: flag %s is %v", g.title, name, set)
			}
		}
		if g.request && !f.heartbeat() {
			if got := string(metaValue(f.meta, keyMethod)); got != g.method {
				t.Errorf("%s: method %q", g.title, got)
			}
			if got := string(metaValue(f.meta, keyService)); !strings.HasSuffix(got, g.service) {
				t.Errorf("%s: service %q", g.title, got)
			}
		}
		if g.flags == "exception" {
			if e := decodeError(metaValue(f.meta, keyException)); e.Type != Service || e.Code != 500 && e.Code != 404 || e.Message == "" {
				t.Errorf("%s: %+v", g.title, e)
			}
		}
		// The header goes back to the same bytes.
		if out := appendHeader(nil, f.header); !bytes.Equal(out, g.bytes[:headLen]) {
			t.Errorf("%s: header %x became %x", g.title, g.bytes[:headLen], out)
		}
	}
}

func TestGoldenHeartbeat(t *testing.T) {
	for _, g := range goldenFrames(t) {
		if g.method != "heartbeat" {
			continue
		}
		f, err := readFrame(g.bytes)
		if err != nil {
			t.Fatal(err)
		}
		out, err := readFrame(appendHeartbeat(nil, f.id, f.response()))
		if err != nil || out.id != f.id || !out.heartbeat() || out.response() != f.response() || len(out.meta)+len(out.body) != 0 {
			t.Errorf("%s: ours is %+v, %v", g.title, out, err)
		}
	}
}

// Values of the capture and of the spec, and the bytes that the spec fixes.
func TestSimpleValues(t *testing.T) {
	str := func(s string) *string { return &s }
	for _, tc := range []struct {
		hex   string
		value any  // a pointer to what the bytes mean
		other bool // we write another form of the same value
	}{
		{"0100000003526179", str("Ray"), false},
		{"09808080808040", ptr(int64(1 << 40)), false},
		{"08dfc508", ptr(int32(-70000)), false},
		{"07fffe", ptr(int16(-2)), false},
		{"06c8", ptr(byte(200)), false},
		{"0a3f000000", ptr(float32(0.5)), false},
		{"0bbfd0000000000000", ptr(-0.25), false},
		{"0501", ptr(true), false},
		{"0500", ptr(false), false},
		{"0300000002dead", &[]byte{0xde, 0xad}, false},
		{"040000000b000000017800000002797a", &[]string{"x", "yz"}, false},
		{"02000000130000000" + "46b6579730000000769642c6e616d65", &map[string]string{"keys": "id,name"}, false},
		{"09d704", ptr(int64(-300)), false},
		// Java sign-extends 32 bits to ten bytes.
		{"08ffffffffffffffffff01", ptr(int32(-1 << 31)), true},
		{"08feffffffffffffffff01", ptr(int32(1<<31 - 1)), true},
		{"08ffffffff0f", ptr(int32(-1 << 31)), false},
		// Java never uses the typed tags for empty containers.
		{"1400000000", &map[string]string{}, true},
		{"1500000000", &[]string{}, true},
		{"0200000000", &map[string]string{}, false},
		{"0400000000", &[]string{}, false},
		// Conversions a typed reader must do.
		{"150000001001000000017801000000027" + "97a00000000"[:0], nil, true},
		{"06c8", ptr(int64(200)), true},
		{"0a3f000000", ptr(0.5), true},
		{"0100000002dead", &[]byte{0xde, 0xad}, true},
		{"00", str(""), true},
	} {
		if tc.value == nil {
			continue
		}
		b, err := hex.DecodeString(tc.hex)
		if err != nil {
			t.Fatalf("%s: %v", tc.hex, err)
		}
		got := reflect.New(reflect.TypeOf(tc.value).Elem())
		if err := (Simple{}).Decode(b, got.Interface()); err != nil {
			t.Errorf("%s: %v", tc.hex, err)
			continue
		}
		if !reflect.DeepEqual(got.Interface(), tc.value) {
			t.Errorf("%s: %v, want %v", tc.hex, got.Elem(), reflect.ValueOf(tc.value).Elem())
		}
		if tc.other {
			continue
		}
		out, err := (Simple{}).Append(nil, tc.value)
		if err != nil || !bytes.Equal(out, b) {
			t.Errorf("%v written as %x, %v, want %s", reflect.ValueOf(tc.value).Elem(), out, err, tc.hex)
		}
	}
}

func ptr[T any](v T) *T { return &v }

// Every simple body of the capture that has one value survives a round trip
// through any.
func TestGoldenSimpleBodies(t *testing.T) {
	n := 0
	for _, g := range goldenFrames(t) {
		f, err := readFrame(g.bytes)
		if err != nil || f.serialization != idSimple || len(f.body) == 0 || g.method == "join" && g.request {
			continue
		}
		body := f.body
		if f.kind&bitGzip != 0 {
			if body, err = inflate(body, 1<<20, new(reservation)); err != nil {
				t.Errorf("%s: %v", g.title, err)
				continue
			}
		}
		var v, again any
		if err := (Simple{}).Decode(body, &v); err != nil {
			if !strings.Contains(err.Error(), "after the value") {
				t.Errorf("%s: %v", g.title, err)
			}
			continue // several arguments
		}
		out, err := (Simple{}).Append(nil, &v)
		if err != nil {
			t.Errorf("%s: %v", g.title, err)
			continue
		}
		if err := (Simple{}).Decode(out, &again); err != nil || !reflect.DeepEqual(v, again) {
			t.Errorf("%s: %v became %v, %v", g.title, v, again, err)
		}
		if _, isMap := v.(map[any]any); !isMap && fmt.Sprintf("%T", v) != "map[string]string" && !bytes.Equal(out, body) {
			t.Errorf("%s: %x became %x", g.title, body, out)
		}
		n++
	}
	if n < 20 {
		t.Errorf("only %d bodies compared", n)
	}
}

func TestGoldenProtobufBodies(t *testing.T) {
	targets := map[string]func() any{
		"hello": func() any { return new(string) }, "int64": func() any { return new(int64) }, "int32": func() any { return new(int32) },
		"f32": func() any { return new(float32) }, "f64": func() any { return new(float64) },
	}
	n := 0
	for _, g := range goldenFrames(t) {
		f, err := readFrame(g.bytes)
		if err != nil || f.serialization != idProtobuf || targets[g.method] == nil {
			continue
		}
		v := targets[g.method]()
		if err := (Protobuf{}).Decode(f.body, v); err != nil {
			t.Errorf("%s: %v", g.title, err)
			continue
		}
		if out, err := (Protobuf{}).Append(nil, v); err != nil || !bytes.Equal(out, f.body) {
			t.Errorf("%s: %x became %x, %v", g.title, f.body, out, err)
		}
		n++
	}
	if n < 10 {
		t.Errorf("only %d bodies compared", n)
	}
}

func TestFrameRefusals(t *testing.T) {
	good := goldenFrames(t)[0].bytes
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	for _, tc := range []struct {
		name string
		in   []byte
		want error
	}{
		{"another protocol", []byte("GET / HTTP/1.1\r\n\r\n"), errBadMagic},
		{"one byte of another", []byte("x"), errBadMagic},
		{"Motan1", change(3, 0), errMotan1},
		{"version 3", change(3, 3<<3), errBadVersion},
		{"huge metadata", change(13, 0x7f, 0xff, 0xff, 0xff), errTooLarge},
		{"huge body", change(13+4+86, 0xff, 0xff, 0xff, 0xff), errTooLarge},
		{"nothing", nil, io.EOF},
	} {
		if _, err := readFrame(tc.in); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	for n := 1; n < len(good); n++ {
		if _, err := readFrame(good[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestInflateIsBounded(t *testing.T) {
	bomb, err := hex.DecodeString("1f8b0800000000000003")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inflate(bomb, 100, new(reservation)); !errors.Is(err, ErrSerialization) {
		t.Errorf("a cut gzip body: %v", err)
	}
	if _, err := inflate(gzipped(t, make([]byte, 1<<20)), 1<<20, new(reservation)); err != nil {
		t.Errorf("as large as allowed: %v", err)
	}
	if _, err := inflate(gzipped(t, make([]byte, 1<<20+1)), 1<<20, new(reservation)); !errors.Is(err, errTooLarge) {
		t.Errorf("a bomb: %v", err)
	}
}

func FuzzFrame(f *testing.F) {
	for _, g := range goldenFrames(f) {
		f.Add(g.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(b), 64)
		var fr frame
		for fr.read(r, 1<<16) == nil {
			decodeMeta(fr.meta)
			var m callMeta
			m.read(fr.meta)
			decodeError(metaValue(fr.meta, keyException))
		}
	})
}

type fuzzTarget struct {
	A string
	B int32
	C []byte
	D []fuzzTarget
	E map[string]any
	F *fuzzTarget
	G map[string]string
	H any
	I []string
	J uint8
	K float32
}

func FuzzSimple(f *testing.F) {
	for _, g := range goldenFrames(f) {
		if fr, err := readFrame(g.bytes); err == nil {
			f.Add(fr.body)
		}
	}
	seed, _ := (Simple{}).Append(nil, &fuzzTarget{A: "a", D: []fuzzTarget{{B: 1}}, E: map[string]any{"x": []any{1.5}}, F: &fuzzTarget{J: 7}, G: map[string]string{"k": "v"}, I: []string{"s"}})
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if (Simple{}).Decode(b, &v) == nil {
			out, err := (Simple{}).Append(nil, &v)
			if err != nil {
				t.Fatalf("%#v: %v", v, err)
			}
			var again any
			if err := (Simple{}).Decode(out, &again); err != nil {
				t.Fatalf("%#v written as %x: %v", v, out, err)
			}
		}
		var s fuzzTarget
		if (Simple{}).Decode(b, &s) == nil {
			out, err := (Simple{}).Append(nil, &s)
			if err != nil {
				t.Fatalf("%#v: %v", s, err)
			}
			if err := (Simple{}).Decode(out, new(fuzzTarget)); err != nil {
				t.Fatalf("%#v written as %x: %v", s, out, err)
			}
		}
	})
}

func FuzzMsgpack(f *testing.F) {
	seed, _ := (Msgpack{}).Append(nil, map[string]any{"a": []any{1, "x", nil, 2.5}, "b": []byte{1}})
	f.Add(seed)
	f.Add(bytes.Repeat([]byte{0x91}, 1000))
	f.Add([]byte{0xdf, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte("\x82\xa1H0\xa1H0")) // a field twice
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		(Msgpack{}).Decode(b, &v)
		var s fuzzTarget
		(Msgpack{}).Decode(b, &s)
	})
}

func FuzzProtobuf(f *testing.F) {
	for _, g := range goldenFrames(f) {
		if fr, err := readFrame(g.bytes); err == nil && fr.serialization == idProtobuf {
			f.Add(fr.body)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []any{new(bool), new(int32), new(int64), new(float32), new(float64), new(string)} {
			if (Protobuf{}).Decode(b, v) == nil {
				if _, err := (Protobuf{}).Append(nil, v); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
