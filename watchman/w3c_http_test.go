package watchman_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/watchman"
)

// What a service does with the fields of a request that comes over a real
// connection, by the rules of W3C Trace Context Level 2: it goes on with the
// trace, under a span id of its own, or begins another; and what it hands on.
func TestTraceContextOverHTTP(t *testing.T) {
	op := newWatchman(t, "s", &watchman.Options{Sample: -1}).Operation(watchman.Server, "op")
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, span := op.StartRemote(r.Context(), watchman.FromHeader(r.Header))
		span.SpanContext().ToHeader(rw.Header())
		span.End(nil)
	}))
	t.Cleanup(srv.Close)
	const (
		anew   = "" // the trace is another one
		parent = "traceparent: " + good
	)
	member := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("k%02d=%d", i, i))
		}
		return strings.Join(list, ",")
	}
	long := func(n int) string { return strings.Repeat("z", n) }
	for _, tc := range []struct {
		name  string
		lines []string
		flags string // of the trace that goes on; anew: it does not
		state string // what is handed on of the caller's
	}{
		{"neither field", nil, anew, ""},
		{"traceparent alone", []string{parent}, "01", ""},
		{"not sampled", []string{"traceparent: " + good[:53] + "00"}, "00", ""},
		{"random", []string{"traceparent: " + good[:53] + "03"}, "03", ""},
		{"flags that mean nothing are not handed on", []string{"traceparent: " + good[:53] + "fd"}, "01", ""},
		{"two traceparents", []string{parent, "traceparent: 00-" + strings.Repeat("1", 32) + "-" + goodSpan + "-01"}, anew, ""},
		{"the same traceparent twice", []string{parent, parent}, anew, ""},
		{"another name with a dash", []string{"trace-parent: " + good}, anew, ""},
		{"another name with a dot", []string{"trace.parent: " + good}, anew, ""},
		{"name in any case", []string{"TrAcEpArEnT: " + good}, "01", ""},
		{"name in capitals", []string{"TRACEPARENT: " + good, "TRACESTATE: a=1"}, "01", "a=1"},
		{"space around the field", []string{"traceparent: \t " + good + " \t"}, "01", ""},
		{"version 00, a dot behind", []string{parent + "."}, anew, ""},
		{"version 00, a dash behind", []string{parent + "-"}, anew, ""},
		{"version 00, more behind", []string{parent + "-what-comes"}, anew, ""},
		{"version cc", []string{"traceparent: cc" + good[2:]}, "01", ""},
		{"version cc, a dash behind", []string{"traceparent: cc" + good[2:] + "-"}, "01", ""},
		{"version cc, more behind", []string{"traceparent: cc" + good[2:] + "-what-comes"}, "01", ""},
		{"version cc, a dot behind", []string{"traceparent: cc" + good[2:] + ".what-comes"}, anew, ""},
		{"version ff", []string{"traceparent: ff" + good[2:]}, anew, ""},
		{"version with a dot in front", []string{"traceparent: .0" + good[2:]}, anew, ""},
		{"version with a dot behind", []string{"traceparent: 0." + good[2:]}, anew, ""},
		{"version of one digit", []string{"traceparent: 0" + good[2:]}, anew, ""},
		{"version of three digits", []string{"traceparent: 000" + good[2:]}, anew, ""},
		{"version of four digits", []string{"traceparent: 0000" + good[2:]}, anew, ""},
		{"trace id zero", []string{"traceparent: 00-" + strings.Repeat("0", 32) + "-" + goodSpan + "-01"}, anew, ""},
		{"trace id with a dot in front", []string{"traceparent: 00-." + goodTrace[1:] + "-" + goodSpan + "-01"}, anew, ""},
		{"trace id with a dot behind", []string{"traceparent: 00-" + goodTrace[:31] + ".-" + goodSpan + "-01"}, anew, ""},
		{"trace id in capitals", []string{"traceparent: 00-" + strings.ToUpper(goodTrace) + "-" + goodSpan + "-01"}, anew, ""},
		{"trace id too long", []string{"traceparent: 00-" + goodTrace + "0-" + goodSpan + "-01"}, anew, ""},
		{"trace id too short", []string{"traceparent: 00-" + goodTrace[1:] + "-" + goodSpan + "-01"}, anew, ""},
		{"span id zero", []string{"traceparent: 00-" + goodTrace + "-" + strings.Repeat("0", 16) + "-01"}, anew, ""},
		{"span id with a dot in front", []string{"traceparent: 00-" + goodTrace + "-." + goodSpan[1:] + "-01"}, anew, ""},
		{"span id with a dot behind", []string{"traceparent: 00-" + goodTrace + "-" + goodSpan[:15] + ".-01"}, anew, ""},
		{"span id in capitals", []string{"traceparent: 00-" + goodTrace + "-" + strings.ToUpper(goodSpan) + "-01"}, anew, ""},
		{"span id too long", []string{"traceparent: 00-" + goodTrace + "-" + goodSpan + "0-01"}, anew, ""},
		{"span id too short", []string{"traceparent: 00-" + goodTrace + "-" + goodSpan[1:] + "-01"}, anew, ""},
		{"flags with a dot in front", []string{"traceparent: " + good[:53] + ".0"}, anew, ""},
		{"flags with a dot behind", []string{"traceparent: " + good[:53] + "0."}, anew, ""},
		{"flags of one digit", []string{"traceparent: " + good[:53] + "1"}, anew, ""},
		{"flags of three digits", []string{"traceparent: " + good[:53] + "001"}, anew, ""},
		{"tracestate alone", []string{"tracestate: a=1"}, anew, ""},
		{"tracestate beside a bad traceparent", []string{parent + ".", "tracestate: a=1"}, anew, ""},
		{"both fields", []string{parent, "tracestate: a=1,b=2"}, "01", "a=1,b=2"},
		{"tracestate first", []string{"tracestate: a=1", parent}, "01", "a=1"},
		{"another name of tracestate", []string{parent, "trace-state: a=1"}, "01", ""},
		{"tracestate in any case", []string{parent, "TrAcEsTaTe: a=1"}, "01", "a=1"},
		{"empty tracestate", []string{parent, "tracestate: "}, "01", ""},
		{"empty tracestate before one", []string{parent, "tracestate: ", "tracestate: a=1"}, "01", "a=1"},
		{"empty tracestate behind one", []string{parent, "tracestate: a=1", "tracestate: "}, "01", "a=1"},
		{"several tracestates keep their order", []string{parent, "tracestate: c=3,b=2", "tracestate: a=1"}, "01", "c=3,b=2,a=1"},
		{"a key twice: the newest, which is the first", []string{parent, "tracestate: a=1,b=2,a=3"}, "01", "a=1,b=2"},
		{"a key twice in two fields", []string{parent, "tracestate: a=1", "tracestate: a=2,b=3"}, "01", "a=1,b=3"},
		{"every character a key may have", []string{parent, "tracestate: abcdefghijklmnopqrstuvwxyz0123456789_-*/@=1"}, "01", "abcdefghijklmnopqrstuvwxyz0123456789_-*/@=1"},
		{"a key that begins with a digit", []string{parent, "tracestate: 0a=1"}, "01", "0a=1"},
		{"every character a value may have", []string{parent, "tracestate: a=\x21\x22\x23$%&'()*+-./0123456789:;<>?@ABCXYZ[\\]^_`abcxyz{|}~"}, "01", "a=\x21\x22\x23$%&'()*+-./0123456789:;<>?@ABCXYZ[\\]^_`abcxyz{|}~"},
		{"a space inside a value", []string{parent, "tracestate: a=1 2"}, "01", "a=1 2"},
		{"spaces and tabs around members", []string{parent, "tracestate: \ta=1 \t, \t b=2\t "}, "01", "a=1,b=2"},
		{"a space before the equals sign", []string{parent, "tracestate: a =1"}, "01", ""},
		{"a key in capitals", []string{parent, "tracestate: A=1"}, "01", ""},
		{"a dot in a key", []string{parent, "tracestate: a.b=1"}, "01", ""},
		{"a key that begins with an at sign", []string{parent, "tracestate: @a=1,b=2"}, "01", ""},
		{"no key", []string{parent, "tracestate: =1"}, "01", ""},
		{"an equals sign in a value", []string{parent, "tracestate: a=b=c"}, "01", ""},
		{"no value", []string{parent, "tracestate: a=,b=3"}, "01", ""},
		{"31 members and ours", []string{parent, "tracestate: " + member(31)}, "01", member(31)},
		{"32 members: the last goes for ours", []string{parent, "tracestate: " + member(32)}, "01", member(31)},
		{"31 members over two fields", []string{parent, "tracestate: " + member(31)[:59], "tracestate: " + member(31)[60:]}, "01", member(31)},
		{"33 members", []string{parent, "tracestate: " + member(33)}, "01", ""},
		{"a key of 256 characters", []string{parent, "tracestate: " + long(256) + "=1"}, "01", long(256) + "=1"},
		{"a key of 257 characters", []string{parent, "tracestate: " + long(257) + "=1"}, "01", ""},
		{"a tenant of 241 and a system of 14", []string{parent, "tracestate: " + long(241) + "@" + long(14) + "=1"}, "01", long(241) + "@" + long(14) + "=1"},
		{"a value of 256 characters", []string{parent, "tracestate: a=" + long(256)}, "01", "a=" + long(256)},
		{"a value of 257 characters", []string{parent, "tracestate: a=" + long(257)}, "01", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sc := exchange(t, srv.Listener.Addr().String(), tc.lines)
			if sc.SpanID.String() == goodSpan || !sc.IsValid() {
				t.Fatalf("handed on %+v", sc)
			}
			if goesOn := sc.TraceID.String() == goodTrace; goesOn != (tc.flags != anew) {
				t.Fatalf("the trace goes on: %v", goesOn)
			}
			if got := fmt.Sprintf("%02x", byte(sc.Flags)); tc.flags != anew && got != tc.flags {
				t.Errorf("flags %s, want %s", got, tc.flags)
			}
			if state := strings.TrimPrefix(strings.TrimPrefix(sc.State, "heddle=s"), ","); state != tc.state || !strings.HasPrefix(sc.State, "heddle=s") {
				t.Errorf("state %q, want %q behind ours", sc.State, tc.state)
			}
		})
	}
	// Requests in turn with and without a trace, and with a bad one.
	seen := map[watchman.SpanID]bool{}
	for i := range 6 {
		lines := [][]string{{parent}, nil, {"traceparent: x"}}[i%3]
		sc := exchange(t, srv.Listener.Addr().String(), lines)
		if seen[sc.SpanID] || (sc.TraceID.String() == goodTrace) != (i%3 == 0) {
			t.Errorf("request %d: %+v", i, sc)
		}
		seen[sc.SpanID] = true
	}
}

// exchange sends the lines as they are and reads what the service hands on.
func exchange(t *testing.T, addr string, lines []string) watchman.SpanContext {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := strings.Join(append([]string{"GET / HTTP/1.1", "Host: x", "Connection: close"}, lines...), "\r\n") + "\r\n\r\n"
	if _, err := c.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("answered %s", res.Status)
	}
	return watchman.FromHeader(res.Header)
}
