package webv4_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

// hostile are bodies that cost nothing to send.
func hostile() map[string]string {
	return map[string]string{
		"10,000 deep lists":   strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
		"10,000 deep objects": strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		"8 MB of lists":       strings.Repeat("[", 8<<20),
		"8 MB of text":        `{"text":"` + strings.Repeat("x", 8<<20) + `"}`,
		"8 MB of spaces":      strings.Repeat(" ", 8<<20),
	}
}

func hostileAPI(t testing.TB) *webv4.API {
	a := newAPI(t, nil)
	type in struct {
		_    struct{} `route:"POST /any"`
		Body struct {
			Any any `json:"any"`
		} `body:""`
	}
	webv4.Handle(a, func(context.Context, *in) (*empty, error) { return nil, nil })
	return a
}

// What is nested too deeply or too large is refused before it costs anything:
// BenchmarkWebHostile measures it.
func TestHostileBodies(t *testing.T) {
	a := hostileAPI(t)
	for name, body := range hostile() {
		for _, length := range []string{"X: y", "Chunked: yes"} {
			for _, inner := range []string{body, `{"any":` + body + `}`} {
				r := do(t, a, "POST /any", inner, jsonBody, length)
				if want := map[bool]int{true: 413, false: 400}[len(inner) > 1<<20]; r.status != want {
					t.Errorf("%s, %s: %d %.100s", name, length, r.status, r.body)
				}
			}
		}
	}
}

func BenchmarkWebHostile(b *testing.B) {
	a := hostileAPI(b)
	for name, body := range hostile() {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			r := newRequest("POST", "/any", `{"any":`+body+`}`, "Content-Type", "application/json")
			r.ContentLength = -1 // its size is not known beforehand
			w := &sink{header: http.Header{}}
			cpu := startCPU()
			for b.Loop() {
				r.send(a, w)
			}
			cpu.report(b)
			if w.status != 400 && w.status != 413 {
				b.Error(fmt.Sprint("status ", w.status))
			}
		})
	}
}
