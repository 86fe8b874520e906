package webv4_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

type uploadIn struct {
	_      struct{}    `route:"POST /up"`
	Status string      `form:"status" required:"true" maxLength:"10"`
	Tags   []string    `form:"tag" maxItems:"2"`
	Pic    *webv4.File `file:"pic" maxSize:"1KiB"`
	Other  *webv4.File `file:"other" required:"true"`
}

// multi builds a multipart body; file parts have names like "pic=me.png".
func multi(parts ...[2]string) (body, header string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		name, file, isFile := strings.Cut(p[0], "=")
		if !isFile {
			w.WriteField(name, p[1])
			continue
		}
		h := textproto.MIMEHeader{}
		h.Set("Content-Disposition", fmt.Sprintf(`form-data; name="%s"; filename="%s"`, name, file))
		if strings.ContainsRune(file, '%') {
			h.Set("Content-Disposition", fmt.Sprintf(`form-data; name="%s"; filename*=utf-8''%s`, name, file))
		}
		h.Set("Content-Type", "image/png")
		pw, _ := w.CreatePart(h)
		io.WriteString(pw, p[1])
	}
	w.Close()
	return b.String(), "Content-Type: " + w.FormDataContentType()
}

func TestUpload(t *testing.T) {
	call := bound[uploadIn](t, nil)
	body, kind := multi([2]string{"status", "hi"}, [2]string{"pic=C:\\dir\\..\\me.png", "PNG"}, [2]string{"tag", "a"}, [2]string{"nobody", "asked"},
		[2]string{"tag", "b"}, [2]string{"other=/etc/passwd", ""}, [2]string{"pic=second", "x"}, [2]string{"status", "second"})
	got, r := call("POST /up", body, kind)
	if got == nil {
		t.Fatal(r.body)
	}
	data, err := io.ReadAll(got.Pic)
	if got.Status != "hi" || string(data) != "PNG" || err != nil || got.Pic.Name != "me.png" || got.Pic.ContentType != "image/png" || got.Pic.Size() != 3 {
		t.Errorf("got %+v, %q %v", got, data, err)
	}
	var p [2]byte
	if n, err := got.Pic.ReadAt(p[:], 1); n != 2 || err != nil || string(p[:]) != "NG" {
		t.Errorf("ReadAt: %d %v %s", n, err, p)
	}
	if fmt.Sprint(got.Tags) != "[a b]" || got.Other.Name != "passwd" || got.Other.Size() != 0 {
		t.Errorf("got %+v, other %+v", got, got.Other)
	}
	for _, name := range []string{"..", ".", "/", "", "a%01b%0d%0ac"} {
		body, kind := multi([2]string{"status", "hi"}, [2]string{"other=" + name, "x"})
		if name == "" {
			continue // then it is a field
		}
		got, r := call("POST /up", body, kind)
		if got == nil {
			t.Errorf("%q: %s", name, r.body)
		} else if strings.ContainsAny(got.Other.Name, "/\\\x01\r\n") || got.Other.Name == ".." {
			t.Errorf("name %q", got.Other.Name)
		}
	}
}

func TestUploadRefused(t *testing.T) {
	call := bound[uploadIn](t, &webv4.Options{MaxBody: 64 << 10})
	other := [2]string{"other=o", "x"}
	for _, tc := range []struct {
		parts        [][2]string
		status, code int
		want         string
	}{
		{[][2]string{other}, 400, webv4.CodeMissing, "(status)"},
		{[][2]string{{"status", "hi"}}, 400, webv4.CodeMissing, "(other)"},
		{[][2]string{{"status", "hi"}, other, {"pic=x", strings.Repeat("x", 1025)}}, 413, webv4.CodeTooLong, "(pic) more than 1024"},
		{[][2]string{{"status", "much too long"}, other}, 400, webv4.CodeInvalid, "(status)"},
		{[][2]string{{"status", "hi"}, other, {"tag", "1"}, {"tag", "1"}, {"tag", "1"}}, 400, webv4.CodeInvalid, "(tag) expect (at most 2 items), but get (more)"},
		{[][2]string{{"status", "hi"}, other, {"nobody", strings.Repeat("x", 70<<10)}}, 413, webv4.CodeTooLong, ""},
		{make([][2]string, 200), 400, webv4.CodeParameter, "more than 128 parts"},
	} {
		body, kind := multi(tc.parts...)
		got, r := call("POST /up", body, kind)
		r.fails(t, tc.status, tc.code, tc.want)
		_, r = call("POST /up", body, kind, "Chunked: yes")
		r.fails(t, tc.status, tc.code, "")
		if got != nil {
			t.Errorf("%s: the handler was called", tc.want)
		}
	}
	_, r := call("POST /up", "x", "Content-Type: multipart/form-data")
	r.fails(t, 415, webv4.CodeMediaType, "without a boundary")
	body, kind := multi([2]string{"status", "hi"}, other)
	_, r = call("POST /up", body[:len(body)-20], kind)
	r.fails(t, 400, webv4.CodeParameter, "ended early")
	_, r = call("POST /up", "--x\r\nbad header\r\n\r\n", "Content-Type: multipart/form-data; boundary=x")
	r.fails(t, 400, webv4.CodeParameter, "cannot be read")
	_, r = call("POST /up", "status=hi", formBody)
	r.fails(t, 400, webv4.CodeMissing, "(other)")
}

// A file may be as large as its tag says, whatever Options.MaxBody is; the rest of
// the form may not.
func TestUploadBeyondMaxBody(t *testing.T) {
	type in struct {
		_    struct{}    `route:"POST /big" auth:"user" idempotent:"1m"`
		Text string      `form:"text"`
		Pic  *webv4.File `file:"pic" maxSize:"64KiB"`
		Free *webv4.File `file:"free"`
	}
	call := bound[in](t, &webv4.Options{MaxBody: 4 << 10, Authenticator: users{}})
	for _, tc := range []struct {
		name   string
		part   [2]string
		status int
	}{
		{"within its tag", [2]string{"pic=x", strings.Repeat("x", 64<<10)}, 200},
		{"beyond its tag", [2]string{"pic=x", strings.Repeat("x", 64<<10+1)}, 413},
		{"beyond both", [2]string{"pic=x", strings.Repeat("x", 80<<10)}, 413},
		{"without a tag", [2]string{"free=x", strings.Repeat("x", 80<<10)}, 413},
	} {
		body, kind := multi([2]string{"text", "hi"}, tc.part)
		for i, more := range []string{"X-Nothing: ", "Chunked: yes", "Idempotency-Key: " + strings.ReplaceAll(tc.name, " ", "-")} {
			got, r := call("POST /big", body, kind, "Authorization: Bearer 7", more)
			if r.status != tc.status || (got != nil) != (tc.status == 200) {
				t.Errorf("%s, %d: status %d %s", tc.name, i, r.status, r.body)
			}
		}
	}
	// Only a multipart form has files.
	for _, more := range []string{"X-Nothing: ", "Chunked: yes"} {
		_, r := call("POST /big", "text="+strings.Repeat("x", 8<<10), formBody, "Authorization: Bearer 7", more)
		r.fails(t, 413, webv4.CodeTooLong, "")
	}
}

// A body that stops in the middle is the client's mistake, however it is read.
func TestBodyEndsEarly(t *testing.T) {
	a := newAPI(t, nil)
	type form struct {
		_ struct{} `route:"POST /form"`
		A string   `form:"a"`
	}
	webv4.Handle(a, func(context.Context, *form) (*empty, error) { return nil, nil })
	srv := httptest.NewServer(a)
	defer srv.Close()
	r, err := http.NewRequest("POST", srv.URL+"/form", io.MultiReader(strings.NewReader("a="), failing{}))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.ContentLength = 100
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
		t.Errorf("status %d for a request that was cut off", resp.StatusCode)
	}
	// In memory it is the same without a broken connection between.
	req := httptest.NewRequest("POST", "/form", io.MultiReader(strings.NewReader("a="), failing{}))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, req)
	answer{w.Code, w.Body.String(), w.Header()}.fails(t, 400, webv4.CodeParameter, "ended early")
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
