//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// requestTime bounds one attempt at one request.
const requestTime = 15 * time.Second

// client is one keep-alive HTTP connection that sends one request at a time.
// It spares the load generator the transport's goroutines, since it shares the
// machine with what it measures.
type client struct {
	addr string
	conn net.Conn
	r    *bufio.Reader
	buf  []byte // the request being built
	form []byte
	body []byte // the last answer's body
}

// answer is what the web tier said about one post.
type answer struct {
	status int
	id     int64
	text   string // an error's body
}

// boundary separates the parts of a multipart form; no text contains it.
const boundary = "newyear-2014-boundary"

// update posts one status, with a picture unless picture is nil.
func (c *client) update(token, key, text string, picture []byte, trace watchman.SpanContext) (answer, error) {
	contentType := "application/x-www-form-urlencoded"
	if picture == nil {
		c.form = append(append(c.form[:0], "status="...), url.QueryEscape(text)...)
	} else {
		contentType = "multipart/form-data; boundary=" + boundary
		c.form = fmt.Appendf(c.form[:0], "--%s\r\nContent-Disposition: form-data; name=\"status\"\r\n\r\n%s\r\n"+
			"--%s\r\nContent-Disposition: form-data; name=\"media\"; filename=\"firework.png\"\r\nContent-Type: image/png\r\n\r\n%s\r\n--%s--\r\n",
			boundary, text, boundary, picture, boundary)
	}

	b := append(c.buf[:0], "POST /2/statuses/update.json HTTP/1.1\r\nHost: "...)
	b = append(b, c.addr...)
	b = append(b, "\r\nContent-Type: "...)
	b = append(b, contentType...)
	b = append(b, "\r\nAuthorization: Bearer "...)
	b = append(b, token...)
	b = append(b, "\r\nIdempotency-Key: "...)
	b = append(b, key...)
	if trace.IsValid() {
		b = append(b, "\r\nTraceparent: "...)
		b = trace.AppendTraceparent(b)
	}
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(c.form)), 10)
	b = append(b, "\r\n\r\n"...)
	c.buf = append(b, c.form...)

	status, err := c.roundTrip()
	if err != nil {
		c.close()
		return answer{}, err
	}
	a := answer{status: status}
	if status != http.StatusOK {
		a.text = string(c.body[:min(len(c.body), 300)])
		return a, nil
	}
	a.id, err = idOf(c.body)
	return a, err
}

var idField = []byte(`"id":`)

// idOf finds the status id in an answer without decoding the rest of it.
func idOf(body []byte) (int64, error) {
	_, rest, ok := bytes.Cut(body, idField)
	if !ok {
		return 0, fmt.Errorf("answer without an id: %.200q", body)
	}
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	return strconv.ParseInt(string(rest[:end]), 10, 64)
}

var (
	errBadAnswer  = errors.New("not an HTTP/1.1 answer")
	contentLength = []byte("content-length")
)

const maxAnswer = 1 << 20

// roundTrip sends c.buf and reads one answer into c.body.
func (c *client) roundTrip() (status int, err error) {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.addr, requestTime)
		if err != nil {
			return 0, err
		}
		c.conn = conn
		if c.r == nil {
			c.r = bufio.NewReaderSize(conn, 4<<10)
		} else {
			c.r.Reset(conn)
		}
	}
	c.conn.SetDeadline(time.Now().Add(requestTime))
	if _, err := c.conn.Write(c.buf); err != nil {
		return 0, err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || string(line[:9]) != "HTTP/1.1 " {
		return 0, fmt.Errorf("%w: %.40q", errBadAnswer, line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, fmt.Errorf("%w: %.40q", errBadAnswer, line)
	}
	length := -1
	for {
		line, err = c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, contentLength) {
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil || length < 0 || length > maxAnswer {
				return 0, fmt.Errorf("%w: Content-Length %.20q", errBadAnswer, value)
			}
		}
	}
	if length < 0 {
		return 0, fmt.Errorf("%w: no Content-Length", errBadAnswer)
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	_, err = io.ReadFull(c.r, c.body)
	return status, err
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// apiStatus is a status as the API shows it.
type apiStatus struct {
	ID   int64  `json:"id"`
	Text string `json:"text"`
	User struct {
		ID int64 `json:"id"`
	} `json:"user"`
	MediaURL string `json:"original_pic"`
}

// apiTimeline is one page of a timeline.
type apiTimeline struct {
	Statuses   []apiStatus `json:"statuses"`
	NextCursor int64       `json:"next_cursor"`
}

// getAPI asks the web tier for path with the user's token, retrying what a
// busy tier refuses.
func (j *job) getAPI(ctx context.Context, path, token string, v any) error {
	for try := 0; ; try++ {
		err := j.getAPIOnce(ctx, path, token, v)
		if err == nil || try == 5 || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond << try)
	}
}

func (j *job) getAPIOnce(ctx context.Context, path, token string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+j.fleet.cfg.Web+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := j.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %.300s", path, resp.Status, body)
	}
	return json.Unmarshal(body, v)
}
