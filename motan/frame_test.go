package motan

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMetadataForms(t *testing.T) {
	pair := func(k, v string) struct{ Key, Value string } { return struct{ Key, Value string }{k, v} }
	for _, tc := range []struct {
		in   string
		want Metadata
	}{
		{"", nil},
		{"a", nil}, // a key without a value, as Java ignores it
		{"a\nb", Metadata{pair("a", "b")}},
		{"a\nb\nc", Metadata{pair("a", "b")}},
		{"a\nb\nc\nd", Metadata{pair("a", "b"), pair("c", "d")}},
		{"a\n", Metadata{pair("a", "")}},
		{"\n\n\n", Metadata{pair("", ""), pair("", "")}},
		{"a\n1\na\n2", Metadata{pair("a", "1"), pair("a", "2")}},
	} {
		if got := decodeMeta([]byte(tc.in)); !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.in, got, tc.want)
		}
	}
	if v := metaValue([]byte("a\n1\nb\nx\na\n2"), "a"); string(v) != "2" {
		t.Errorf("of several values %q counts, want the last", v)
	}
	// What cannot be carried is left out.
	b := appendMeta(nil, 0, "k", "v")
	for _, bad := range [][2]string{{"", "v"}, {"k", ""}, {"a\nb", "v"}, {"k", "a\nb"}} {
		b = appendMeta(b, 0, bad[0], bad[1])
	}
	if b = appendMeta(b, 0, "l", "w"); string(b) != "k\nv\nl\nw" {
		t.Errorf("%q", b)
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte("M_p\ncom.example.S\nM_m\nhello\nM_tmo\n100"))
	f.Add([]byte("M_p\nS\nM_m\nM_tmo\nM_tmo\n7\nM_p\nT\ntenant\na"))
	f.Add([]byte("M_p\nS\nM_m\n\nM_tmo\n7"))
	f.Add([]byte("M_p\nS\n\nM_tmo\n7"))
	f.Add([]byte("tenant\na\nM_tmo\n7"))
	f.Add([]byte("a\nb\nc"))
	f.Add([]byte("\n\n\n\n"))
	f.Add([]byte("traceparent\n00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := decodeMeta(b)
		// It is what cutting at the line feeds gives.
		parts := strings.Split(string(b), "\n")
		if len(m) != len(parts)/2 {
			t.Fatalf("%q: %d pairs", b, len(m))
		}
		var again []byte
		for i, p := range m {
			if p.Key != parts[2*i] || p.Value != parts[2*i+1] {
				t.Fatalf("%q: pair %d is %q", b, i, p)
			}
			if v := metaValue(b, p.Key); string(v) != m.Get(p.Key) {
				t.Fatalf("%q: %q is %q and %q", b, p.Key, v, m.Get(p.Key))
			}
			again = appendMeta(again, 0, p.Key, p.Value)
		}
		for _, p := range decodeMeta(again) {
			if !slices.Contains(m, p) {
				t.Fatalf("%q written as %q has %q", b, again, p)
			}
		}
		var c callMeta
		c.read(b)
		added := textMeta(string(appendApplicationMeta(nil, b)))
		if len(added) != c.others {
			t.Fatalf("%q: %d and %d pairs of the application", b, len(added), c.others)
		}
		for _, p := range added {
			if !slices.Contains(m, p) {
				t.Fatalf("%q: %q was not there", b, p)
			}
		}
	})
}

// What came before on a connection does not change what is read.
func FuzzLastSeen(f *testing.F) {
	const head, trace = "M_p\nS\nM_m\nm", "\ntraceparent\n00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, pair := range [][2]string{
		{head + "\nM_tmo\n100" + trace, head + "\nM_tmo\n99" + trace},
		{head + "\nM_tmo\n100" + trace + "\ntracestate\na=b\ntenant\nx", head + "\nM_tmo\n7" + trace + "\ntracestate\na=b\ntenant\nx"},
		{head + "\nM_tmo\n100" + trace + "\ntenant\nx", head + "\nM_tmo\n7" + trace + "\ntenant\ny\nM_m\nother"},
		{head + "\nM_tmo\n7" + trace + "\nM_fws\ny", head + "\nM_tmo\n9999999999" + trace},
		{"M_p\nS\nM_m\n\nM_tmo\n7", "M_p\nS\nM_m\nM_tmo\nM_tmo\n7\nM_p\nT\ntenant\na"},
		{"M_tmo\n7" + trace, "tenant\na\nM_tmo\n7"},
		{head + "\nM_tmo\n7\ntraceparent\n" + strings.Repeat("a\n", 28), head + "\nM_tmo\n7" + trace + "0"},
	} {
		f.Add([]byte(pair[0]), []byte(pair[1]))
	}
	f.Fuzz(func(t *testing.T, before, b []byte) {
		var want callMeta
		want.read(b)
		added := textMeta(string(appendApplicationMeta(nil, b)))
		var seen lastSeen
		seen.read(before, new(reservation))
		for range 2 {
			got, err := seen.read(b, new(reservation))
			if err != nil {
				t.Fatalf("%q after %q: %v", b, before, err)
			}
			var own Metadata
			if got.added != nil {
				own = *got.added
			}
			if !slices.Equal(own, added) {
				t.Fatalf("%q after %q: %q are the application's, want %q", b, before, own, added)
			}
			got.added = nil
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%q after %q: %+v, want %+v", b, before, got, want)
			}
			seen.read(before, new(reservation))
		}
	})
}

// Whatever arrives, a connection of the server ends when its input does.
func FuzzServerConnection(f *testing.F) {
	for _, g := range goldenFrames(f)[:20] {
		f.Add(g.bytes)
	}
	f.Add(appendHeartbeat(nil, 1, false))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	srv, err := NewServer(&ServerOptions{MaxFrame: 1 << 16, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { srv.Close() })
	Handle(srv, "com.example.EchoService", "hello", func(_ context.Context, s *string) (*string, error) { return s, nil })
	Handle(srv, "com.example.EchoService", "any", func(_ context.Context, v *any) (*any, error) { return v, nil })
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := net.Pipe()
		srv.accept(theirs)
		ours.SetDeadline(time.Now().Add(10 * time.Second))
		read := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, ours)
			read <- err
		}()
		io.Copy(ours, bytes.NewReader(b)) // it may hang up before the end
		// Ask for a sign of life, so that what was sent has been read if the
		// connection still works.
		ours.Write(appendHeartbeat(nil, 9, false))
		ours.Close()
		if err := <-read; err != nil && err != io.ErrClosedPipe {
			t.Fatal(err)
		}
	})
}

// What is large is counted, and not remembered for as long as the connection lives.
func TestLargeMetadataIsNotRemembered(t *testing.T) {
	m := memory{most: 1 << 30}
	room := reservation{of: &m}
	var seen lastSeen
	long := strings.Repeat("x", countOver)
	got, err := seen.read([]byte("M_p\nS\nM_m\nm\nM_s\n"+long+"\ntracestate\n"+long+"\nbaggage\n"+long+"\ntenant\n"+long), &room)
	if err != nil || got.added == nil || got.added.Get("tenant") != long {
		t.Fatalf("%+v, %v", got, err)
	}
	text(&seen.tracestate, got.tracestate)
	text(&seen.baggage, got.baggage)
	if c := seen.from("peer", &got); c.application != long {
		t.Errorf("%+v", c)
	}
	if seen.meta != nil || seen.caller != nil || cap(seen.buf)+len(seen.metaText)+len(seen.tracestate)+len(seen.baggage) > 0 {
		t.Errorf("%d bytes are remembered", cap(seen.buf)+len(seen.metaText)+len(seen.tracestate)+len(seen.baggage))
	}
	if n := m.held.Load(); n < 4*countOver || n != room.n {
		t.Errorf("%d bytes are counted", n)
	}
}
