package watchman_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/watchman"
)

const (
	goodTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	goodSpan  = "00f067aa0ba902b7"
	good      = "00-" + goodTrace + "-" + goodSpan + "-01"
)

// The rules of W3C Trace Context Level 2, section 3.2.
func TestTraceparent(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		flags    watchman.Flags
		ok       bool
	}{
		{"sampled", good, watchman.FlagSampled, true},
		{"not sampled", good[:53] + "00", 0, true},
		{"random", good[:53] + "03", watchman.FlagSampled | watchman.FlagRandom, true},
		{"unknown flags are dropped", good[:53] + "ff", watchman.FlagSampled | watchman.FlagRandom, true},
		{"future version", "cc" + good[2:], watchman.FlagSampled, true},
		{"future version with more", "cc" + good[2:] + "-what-the-future-brings", watchman.FlagSampled, true},
		{"future version, more without dash", "cc" + good[2:] + ".what", 0, false},
		{"future version, empty more", "cc" + good[2:] + "-", watchman.FlagSampled, true},
		{"future version, flags that only version 00 has", "cc" + good[2:53] + "02", 0, true},
		{"version ff", "ff" + good[2:], 0, false},
		{"version 00 with more", good + "-x", 0, false},
		{"version 00 with a dash", good + "-", 0, false},
		{"version upper case", "CC" + good[2:], 0, false},
		{"version not hex", ".0" + good[2:], 0, false},
		{"trace id zero", "00-" + strings.Repeat("0", 32) + "-" + goodSpan + "-01", 0, false},
		{"span id zero", "00-" + goodTrace + "-" + strings.Repeat("0", 16) + "-01", 0, false},
		{"trace id upper case", "00-" + strings.ToUpper(goodTrace) + "-" + goodSpan + "-01", 0, false},
		{"span id upper case", "00-" + goodTrace + "-" + strings.ToUpper(goodSpan) + "-01", 0, false},
		{"trace id not hex", "00-" + goodTrace[:31] + "g-" + goodSpan + "-01", 0, false},
		{"flags not hex", good[:53] + ".0", 0, false},
		{"flags upper case", good[:53] + "0A", 0, false},
		{"short", good[:54], 0, false},
		{"empty", "", 0, false},
		{"wrong dashes", strings.ReplaceAll(good, "-", "_"), 0, false},
		{"space in front", " " + good, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sc, err := watchman.ParseTraceparent(tc.in)
			if (err == nil) != tc.ok {
				t.Fatalf("%q: %v", tc.in, err)
			}
			if !tc.ok {
				if !errors.Is(err, watchman.ErrTraceparent) || sc.IsValid() {
					t.Errorf("%v, %+v", err, sc)
				}
				return
			}
			if sc.TraceID.String() != goodTrace || sc.SpanID.String() != goodSpan || sc.Flags != tc.flags {
				t.Errorf("got %+v, want flags %d", sc, tc.flags)
			}
			if out := string(sc.AppendTraceparent(nil)); out != fmt.Sprintf("00-%s-%s-%02x", goodTrace, goodSpan, byte(tc.flags)) {
				t.Errorf("written as %s", out)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	many := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf("k%d=v", i))
		}
		return list
	}
	for _, tc := range []struct {
		name   string
		parent []string
		state  []string
		want   string
		valid  bool
	}{
		{"one of each", []string{good}, []string{"a=1,b=2"}, "a=1,b=2", true},
		{"no state", []string{good}, nil, "", true},
		{"two parents start anew", []string{good, good}, []string{"a=1"}, "", false},
		{"no parent, state ignored", nil, []string{"a=1"}, "", false},
		{"bad parent, state ignored", []string{"x"}, []string{"a=1"}, "", false},
		{"several lines", []string{good}, []string{"a=1", "b=2,c=3"}, "a=1,b=2,c=3", true},
		{"empty state", []string{good}, []string{""}, "", true},
		{"empty members", []string{good}, []string{"a=1,,b=2", ""}, "a=1,b=2", true},
		{"spaces around members", []string{good}, []string{"a=1 ,\t b=2 "}, "a=1,b=2", true},
		{"32 members over lines", []string{good}, []string{strings.Join(many(32)[:20], ","), strings.Join(many(32)[20:], ",")}, strings.Join(many(32), ","), true},
		{"33 members", []string{good}, []string{strings.Join(many(33), ",")}, "", true},
		{"twice the same key", []string{good}, []string{"a=1,b=2,a=3"}, "a=1,b=2", true},
		{"twice over lines", []string{good}, []string{"a=1", "a=2"}, "a=1", true},
		{"32 members and one twice", []string{good}, []string{strings.Join(many(32), ","), "k0=w"}, strings.Join(many(32), ","), true},
		{"upper case key", []string{good}, []string{"A=1"}, "", true},
		{"key with multi-tenant", []string{good}, []string{"fw529a3039@dt=1"}, "fw529a3039@dt=1", true},
		{"key of all characters", []string{good}, []string{"0a_-*/@=1"}, "0a_-*/@=1", true},
		{"key starts with a sign", []string{good}, []string{"_a=1"}, "", true},
		{"key of 256", []string{good}, []string{strings.Repeat("k", 256) + "=1"}, strings.Repeat("k", 256) + "=1", true},
		{"key of 257", []string{good}, []string{strings.Repeat("k", 257) + "=1"}, "", true},
		{"space before the equals sign", []string{good}, []string{"a =1"}, "", true},
		{"value of 256", []string{good}, []string{"a=" + strings.Repeat("v", 256)}, "a=" + strings.Repeat("v", 256), true},
		{"value of 257", []string{good}, []string{"a=" + strings.Repeat("v", 257)}, "", true},
		{"no value", []string{good}, []string{"a="}, "", true},
		{"no equals sign", []string{good}, []string{"a"}, "", true},
		{"equals sign in the value", []string{good}, []string{"a=b=c"}, "", true},
		{"space in front of the value", []string{good}, []string{"a= b"}, "a= b", true},
		{"control byte", []string{good}, []string{"a=\x01"}, "", true},
		{"not ASCII", []string{good}, []string{"a=ä"}, "", true},
		{"far too long", []string{good}, []string{strings.Repeat("a=1,", 10000)}, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{}
			for _, v := range tc.parent {
				h.Add("traceparent", v)
			}
			for _, v := range tc.state {
				h.Add("tracestate", v)
			}
			sc := watchman.FromHeader(h)
			if sc.IsValid() != tc.valid || sc.State != tc.want {
				t.Errorf("valid %v, state %q, want %v, %q", sc.IsValid(), sc.State, tc.valid, tc.want)
			}
		})
	}
}

func TestBaggage(t *testing.T) {
	sc := watchman.FromHeader(http.Header{"Baggage": {"user=al%20ice;secret=1 , lane = canary", "bad key=1,x=%zz,,y="}})
	got := map[string]string{}
	for k, v := range sc.Members() {
		got[k] = v
	}
	if len(got) != 3 || got["user"] != "al ice" || got["lane"] != "canary" || got["y"] != "" {
		t.Errorf("members = %v", got)
	}
	for name, lines := range map[string][]string{
		"too long":      {strings.Repeat("a", 9000) + "=1"},
		"control bytes": {"a=\r\nX-Evil: 1"},
		"not ASCII":     {"a=ä"},
	} {
		if sc := watchman.FromHeader(http.Header{"Baggage": lines}); sc.Baggage != "" {
			t.Errorf("%s: kept %.40q", name, sc.Baggage)
		}
	}
	sc = watchman.SpanContext{}
	var err error
	for i := range 64 {
		if sc, err = sc.WithMember(fmt.Sprint("k", i), "a b,c;d%\"\\é"); err != nil {
			t.Fatal(err)
		}
	}
	if sc.Member("k0") != "a b,c;d%\"\\é" {
		t.Errorf("k0 = %q", sc.Member("k0"))
	}
	if _, err := sc.WithMember("one-more", "1"); !errors.Is(err, watchman.ErrBaggage) {
		t.Errorf("the 65th member: %v", err)
	}
	if same, err := sc.WithMember("k0", "2"); err != nil || same.Member("k0") != "2" {
		t.Errorf("replacing a member: %v", err)
	}
	if _, err := sc.WithMember("no token", "1"); !errors.Is(err, watchman.ErrBaggage) {
		t.Errorf("a bad key: %v", err)
	}
	// Baggage travels even where a trace does not.
	w := newWatchman(t, "s", nil)
	_, span := w.Operation(watchman.Server, "op").StartRemote(t.Context(), watchman.SpanContext{Baggage: "a=1"})
	if span.SpanContext().Baggage != "a=1" || !span.SpanContext().IsValid() {
		t.Errorf("got %+v", span.SpanContext())
	}
}

func TestCallerMemberComesFirstAndOnce(t *testing.T) {
	w := newWatchman(t, "store", nil)
	parent := watchman.FromFields(good, "x=1,heddle=web,y=2", "")
	_, span := w.Operation(watchman.Server, "op").StartRemote(t.Context(), parent)
	if got := span.SpanContext().State; got != "heddle=store,x=1,y=2" {
		t.Errorf("state = %q", got)
	}
}

func TestBinary(t *testing.T) {
	sc := watchman.FromFields(good, "a=1", "k=v")
	b, err := sc.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := watchman.ParseBinary(b); err != nil || got != sc {
		t.Errorf("%+v became %+v, %v", sc, got, err)
	}
	for n := range len(b) {
		if _, err := watchman.ParseBinary(b[:n]); !errors.Is(err, watchman.ErrBinary) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := watchman.ParseBinary(append(slices.Clone(b), 0)); err == nil {
		t.Error("a byte too many was read")
	}
	b[0] = 9
	if _, err := watchman.ParseBinary(b); err == nil {
		t.Error("an unknown version was read")
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add(good)
	f.Add("cc" + good[2:] + "-x")
	f.Fuzz(func(t *testing.T, s string) {
		sc, err := watchman.ParseTraceparent(s)
		if err != nil {
			if sc != (watchman.SpanContext{}) {
				t.Fatalf("%q: an error and %+v", s, sc)
			}
			return
		}
		again, err := watchman.ParseTraceparent(string(sc.AppendTraceparent(nil)))
		if err != nil || again != sc {
			t.Fatalf("%q: %+v became %+v, %v", s, sc, again, err)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("a=1,b=2", "c=3", "k=v;p=1")
	f.Add("A=1", "", "%zz")
	f.Add(" , ,", "a==", "=")
	f.Fuzz(func(t *testing.T, a, b, baggage string) {
		sc := watchman.FromHeader(http.Header{"Traceparent": {good}, "Tracestate": {a, b}, "Baggage": {baggage}})
		if strings.ContainsAny(sc.State+sc.Baggage, "\r\n\x00") {
			t.Fatalf("line ends came through: %q %q", sc.State, sc.Baggage)
		}
		again := watchman.FromFields(good, sc.State, sc.Baggage)
		if again != sc {
			t.Fatalf("not stable: %+v became %+v", sc, again)
		}
		n := 0
		for range sc.Members() {
			n++
		}
		if n > 64 {
			t.Fatalf("%d members", n)
		}
	})
}

func FuzzBinary(f *testing.F) {
	sc := watchman.FromFields(good, "a=1", "k=v")
	b, _ := sc.AppendBinary(nil)
	f.Add(b)
	f.Add(b[:28])
	f.Fuzz(func(t *testing.T, b []byte) {
		sc, err := watchman.ParseBinary(b)
		if err != nil {
			return
		}
		out, _ := sc.AppendBinary(nil)
		again, err := watchman.ParseBinary(out)
		if err != nil || again != sc {
			t.Fatalf("%+v became %+v, %v", sc, again, err)
		}
	})
}

// Each place of a traceparent takes each byte that it may and no other.
func TestTraceparentDigits(t *testing.T) {
	for at := range len(good) {
		for c := range 256 {
			b := []byte(good)
			b[at] = byte(c)
			_, err := watchman.ParseTraceparent(string(b))
			digit := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
			want := digit
			if good[at] == '-' {
				want = c == '-'
			}
			if at < 2 && digit {
				want = string(b[:2]) != "ff"
			}
			if (err == nil) != want {
				t.Errorf("byte %#x at %d: %v", c, at, err)
			}
		}
	}
}
