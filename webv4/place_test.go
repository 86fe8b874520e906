package webv4_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

// Streams that last, bodies that do not come and replies that nobody reads take
// nobody's place under Options.Overload.
func TestWaitingCallsTakeNoPlace(t *testing.T) {
	const most = 2
	a := newAPI(t, &webv4.Options{Overload: &webv4.Overload{Max: most, Queue: -1}})
	type events struct {
		_ struct{} `route:"GET /events"`
	}
	type file struct {
		_ struct{} `route:"GET /file"`
	}
	type upload struct {
		_    struct{} `route:"POST /upload"`
		Body struct {
			Text string `json:"text"`
		} `body:""`
	}
	type quick struct {
		_ struct{} `route:"GET /quick"`
	}
	type list struct {
		_ struct{} `route:"GET /list"`
	}
	type post struct {
		_    struct{} `route:"POST /list"`
		Body struct{} `body:""`
	}
	type other struct {
		_ struct{} `route:"GET /other" with:"other"`
	}
	webv4.Handle(a, func(context.Context, *events) (*webv4.Events, error) {
		return &webv4.Events{Run: func(ctx context.Context, send func(webv4.Event) error) error {
			err := send(webv4.Event{Name: "ready"})
			<-ctx.Done()
			return err
		}}, nil
	})
	webv4.Handle(a, func(context.Context, *file) (*webv4.Content, error) {
		return &webv4.Content{Data: io.NewSectionReader(zeros{}, 0, 1<<30)}, nil
	})
	webv4.Handle(a, func(_ context.Context, in *upload) (*in2, error) { return &in2{in.Body.Text}, nil })
	webv4.Handle(a, func(context.Context, *quick) (*empty, error) { return nil, nil })
	large := &in2{strings.Repeat("x", 16<<20)} // more than sockets buffer
	webv4.Handle(a, func(context.Context, *list) (*in2, error) { return large, nil })
	webv4.Handle(a, func(context.Context, *post) (*in2, error) { return large, nil })
	a.Intercept("other", func(context.Context, *webv4.Call, webv4.Next) (any, error) {
		return &webv4.Content{Data: io.NewSectionReader(zeros{}, 0, 1<<30)}, nil
	})
	webv4.Handle(a, func(context.Context, *other) (*empty, error) { return nil, nil })
	srv := httptest.NewServer(a)
	defer srv.Close()

	others := func(after string) {
		t.Helper()
		for range 2 * most {
			resp, err := http.Get(srv.URL + "/quick")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("after %s: %s", after, resp.Status)
			}
		}
	}
	dial := func(request string) (net.Conn, *bufio.Reader) {
		t.Helper()
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		return conn, bufio.NewReader(conn)
	}
	expect := func(rd *bufio.Reader, want string) {
		t.Helper()
		for {
			line, err := rd.ReadString('\n')
			if err != nil {
				t.Fatalf("%v before %q", err, want)
			}
			if strings.Contains(line, want) {
				return
			}
		}
	}

	for range 3 * most {
		conn, rd := dial("GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
		defer conn.Close()
		expect(rd, "event: ready")
	}
	others("open streams")

	for range 3 * most {
		conn, rd := dial("GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
		defer conn.Close()
		expect(rd, "200 OK") // and no more: the server's buffers fill up
	}
	others("slow readers of files")

	for _, request := range []string{"GET /list HTTP/1.1", "POST /list HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2", "GET /other HTTP/1.1"} {
		for range most {
			conn, rd := dial(request + "\r\nHost: x\r\n\r\n")
			defer conn.Close()
			if strings.HasPrefix(request, "POST") {
				io.WriteString(conn, "{}")
			}
			expect(rd, "200 OK")
		}
		others("slow readers of " + request)
	}

	type sender struct {
		net.Conn
		rd *bufio.Reader
	}
	var senders []sender
	body := `{"text":"late"}`
	for range 3 * most {
		conn, rd := dial(fmt.Sprintf("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body)))
		defer conn.Close()
		expect(rd, "100 Continue") // the body is waited for
		io.WriteString(conn, body[:5])
		senders = append(senders, sender{conn, rd})
	}
	others("slow bodies")
	for _, s := range senders {
		io.WriteString(s, body[5:])
		expect(s.rd, "200 OK")
		expect(s.rd, `{"p":"late"}`)
	}
	others("all bodies")
}
