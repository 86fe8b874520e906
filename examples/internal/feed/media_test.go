package feed_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"testing"
)

func TestPicturesComeBack(t *testing.T) {
	r := start(t)
	r.start()
	picture := append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte("picture"), 10_000)...)
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	form.WriteField("status", "look")
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", `form-data; name="media"; filename="a.png"`)
	h.Set("Content-Type", "image/png")
	part, err := form.CreatePart(h)
	if err != nil {
		t.Fatal(err)
	}
	part.Write(picture)
	form.Close()
	req, err := http.NewRequest("POST", "http://"+r.cfg.Web+"/2/statuses/update.json", &body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("Authorization", "Bearer "+r.token)
	var s status
	if code, answer := r.do(req, &s); code != http.StatusOK || s.ObjectID == "" || s.Picture == "" {
		t.Fatalf("update with media: %d %s", code, answer)
	}

	resp, err := http.Get(s.Picture)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, picture) {
		t.Errorf("picture: %d bytes, %v, want %d", len(got), err, len(picture))
	}
	if ct := resp.Header.Get("Content-Type"); ct != "image/png" {
		t.Errorf("Content-Type %q", ct)
	}

	req, err = http.NewRequest("GET", s.Picture, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=8-14")
	if code, part := r.do(req, nil); code != http.StatusPartialContent || part != "picture" {
		t.Errorf("range: %d %q", code, part)
	}
	missing := s.Picture[:len(s.Picture)-1] + "0"
	if missing == s.Picture {
		missing = s.Picture[:len(s.Picture)-1] + "1"
	}
	for _, path := range []string{missing, "http://" + r.cfg.Web + "/media/nonsense", "http://" + r.cfg.Web + "/media/1:1"} {
		req, err := http.NewRequest("GET", path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if code, answer := r.do(req, nil); code != http.StatusNotFound {
			t.Errorf("%s: %d %s, want 404", path, code, answer)
		}
	}
}
