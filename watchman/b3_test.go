package watchman_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/watchman"
)

func TestB3(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		ok       bool
		sampled  bool
	}{
		{"sampled", goodTrace + "-" + goodSpan + "-1", true, true},
		{"debug", goodTrace + "-" + goodSpan + "-d", true, true},
		{"not sampled", goodTrace + "-" + goodSpan + "-0", true, false},
		{"deferred", goodTrace + "-" + goodSpan, true, false},
		{"with parent", goodTrace + "-" + goodSpan + "-1-" + goodSpan, true, true},
		{"64 bit", goodTrace[16:] + "-" + goodSpan + "-1", true, true},
		{"upper case", strings.ToUpper(goodTrace) + "-" + goodSpan + "-1", true, true},
		{"bad parent", goodTrace + "-" + goodSpan + "-1-zz", false, false},
		{"more", goodTrace + "-" + goodSpan + "-1-" + goodSpan + "-x", false, false},
		{"bad state", goodTrace + "-" + goodSpan + "-2", false, false},
		{"empty state", goodTrace + "-" + goodSpan + "-", false, false},
		{"no span", goodTrace, false, false},
		{"zero", strings.Repeat("0", 32) + "-" + goodSpan, false, false},
		{"short", "1234-" + goodSpan, false, false},
		{"not hex", strings.Repeat("g", 32) + "-" + goodSpan, false, false},
		{"empty", "", false, false},
	} {
		sc, err := watchman.ParseB3(tc.in)
		if (err == nil) != tc.ok || sc.IsValid() != tc.ok || sc.Sampled() != tc.sampled {
			t.Errorf("%s: %+v, %v", tc.name, sc, err)
		}
		if err != nil && !errors.Is(err, watchman.ErrB3) {
			t.Errorf("%s: %v is no ErrB3", tc.name, err)
		}
	}
	if sc, err := watchman.ParseB3("d"); err != nil || !sc.Sampled() || sc.IsValid() {
		t.Errorf("a lone state: %+v, %v", sc, err)
	}
}

func TestB3Headers(t *testing.T) {
	sc := watchman.FromFields(good, "", "")
	single := http.Header{"B3": {string(sc.AppendB3(nil))}}
	multi := http.Header{}
	sc.ToB3Header(multi)
	for name, h := range map[string]http.Header{"single": single, "multi": multi} {
		if got := watchman.FromHeader(h); got != sc {
			t.Errorf("%s: %+v, want %+v", name, got, sc)
		}
	}
	multi.Set("X-B3-Flags", "1")
	multi.Set("X-B3-Sampled", "0")
	if got := watchman.FromHeader(multi); !got.Sampled() {
		t.Error("the debug flag does not sample")
	}
	both := http.Header{"Traceparent": {good}, "B3": {strings.Repeat("1", 32) + "-" + goodSpan}}
	if got := watchman.FromHeader(both); got.TraceID != sc.TraceID {
		t.Error("B3 goes before traceparent")
	}
	both.Set("Traceparent", "broken")
	if got := watchman.FromHeader(both); got.IsValid() {
		t.Error("B3 stands in for a broken traceparent")
	}
	for name, h := range map[string]http.Header{
		"broken single": {"B3": {"x"}},
		"broken multi":  {"X-B3-Traceid": {"x"}, "X-B3-Spanid": {goodSpan}},
		"half":          {"X-B3-Traceid": {goodTrace}},
	} {
		if watchman.FromHeader(h).IsValid() {
			t.Errorf("%s was read", name)
		}
	}
}

func FuzzB3(f *testing.F) {
	f.Add(goodTrace+"-"+goodSpan+"-1", goodTrace, goodSpan)
	f.Add("d", "", "1")
	f.Fuzz(func(t *testing.T, single, trace, span string) {
		if sc, err := watchman.ParseB3(single); err == nil && sc.IsValid() {
			again, err := watchman.ParseB3(string(sc.AppendB3(nil)))
			if err != nil || again != sc {
				t.Fatalf("%q: %+v became %+v, %v", single, sc, again, err)
			}
		}
		sc := watchman.FromHeader(http.Header{"X-B3-Traceid": {trace}, "X-B3-Spanid": {span}, "X-B3-Sampled": {single}})
		if sc.IsValid() {
			h := http.Header{}
			sc.ToB3Header(h)
			if again := watchman.FromHeader(h); again != sc {
				t.Fatalf("%+v became %+v", sc, again)
			}
		}
	})
}

func FuzzTraceID(f *testing.F) {
	f.Add(goodTrace)
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := watchman.ParseTraceID(s)
		if err == nil && id.String() != strings.ToLower(s) {
			t.Fatalf("%q became %s", s, id)
		}
		var span watchman.SpanID
		if err := span.UnmarshalText([]byte(s)); err == nil && s != "" && span.String() != strings.ToLower(s) {
			t.Fatalf("%q became %s", s, span)
		}
	})
}
