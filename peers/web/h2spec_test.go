package web

import (
	"context"
	"encoding/xml"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"

	"github.com/heddle-go/heddle/webv4"
)

type rootPage struct {
	_ struct{} `route:"GET /"`
}

type rootPost struct {
	_    struct{} `route:"POST /"`
	Body any      `body:""`
}

type greeting struct {
	Hello string `json:"hello"`
}

// TestHTTP2 runs h2spec against webv4 and against net/http alone: in nothing may
// webv4 be further from RFC 9113 than the server that it stands on.
func TestHTTP2(t *testing.T) {
	a, err := webv4.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	webv4.Handle(a, func(context.Context, *rootPage) (*greeting, error) { return &greeting{"world"}, nil })
	webv4.Handle(a, func(context.Context, *rootPost) (*greeting, error) { return &greeting{"world"}, nil })
	plain := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handReply(w, &greeting{"world"}) })
	ours, cases := h2Failures(t, a)
	if cases < 100 {
		t.Fatalf("h2spec ran %d cases", cases)
	}
	theirs, _ := h2Failures(t, plain)
	// What is slow fails too: only what fails again and again counts.
	for range 3 {
		if worse(ours, theirs) == nil {
			break
		}
		again, _ := h2Failures(t, a)
		for name := range ours {
			if !again[name] {
				delete(ours, name)
			}
		}
	}
	t.Logf("of %d cases net/http fails %d, webv4 %d", cases, len(theirs), len(ours))
	for _, name := range worse(ours, theirs) {
		t.Errorf("webv4 fails, net/http does not: %s", name)
	}
}

func worse(ours, theirs map[string]bool) (list []string) {
	for name := range ours {
		if !theirs[name] {
			list = append(list, name)
		}
	}
	return list
}

// h2Failures are the cases that fail with a handler.
func h2Failures(t *testing.T, h http.Handler) (failures map[string]bool, cases int) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it is full of what h2spec does wrong
	srv.StartTLS()
	defer srv.Close()
	host, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.xml")
	// It prints what it does; the report says the same.
	stdout := os.Stdout
	if os.Stdout, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	_, err = h2spec.Run(&config.Config{
		Host: host, Port: number, Path: "/", Timeout: 2 * time.Second, MaxHeaderLen: 4000, TLS: true, Insecure: true, JUnitReport: report,
	})
	os.Stdout.Close()
	os.Stdout = stdout
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var found struct {
		Suites []struct {
			Package string `xml:"package,attr"`
			Cases   []struct {
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	failures = map[string]bool{}
	for _, s := range found.Suites {
		for _, c := range s.Cases {
			cases++
			if c.Failure != nil || c.Error != nil {
				failures[s.Package+" "+c.Name] = true
			}
		}
	}
	return failures, cases
}
