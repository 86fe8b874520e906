package main

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestSamples(t *testing.T) {
	var out, errs strings.Builder
	if code := run(context.Background(), []string{"-once"}, &out, &errs); code != 0 {
		t.Fatalf("exit status %d: %s", code, errs.String())
	}
	for _, want := range []string{`"object_type": "image"`, `"width": 480`, `"object_type": "article"`, `"words": 19`, "sums right"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
	if n := strings.Count(out.String(), "read back as"); n != 4 {
		t.Errorf("%d objects read back", n)
	}
}

// The same in real engines, where the objects stay for the next run.
func TestEngines(t *testing.T) {
	s3, hbase := os.Getenv("HEDDLE_TEST_S3"), os.Getenv("HEDDLE_TEST_HBASE")
	if s3 == "" || hbase == "" {
		t.Skip("HEDDLE_TEST_S3=http://KEY:SECRET@HOST:PORT/BUCKET and HEDDLE_TEST_HBASE=HOST:PORT are not set; see .ci/README.md")
	}
	table := "heddle_objects_" + strings.ToLower(rand.Text()[:10])
	data := filepath.Join(t.TempDir(), "lib")
	var out, errs strings.Builder
	args := []string{"-once", "-data", data, "-s3", s3, "-hbase", hbase, "-table", table}
	if code := run(context.Background(), args, &out, &errs); code != 0 {
		t.Fatalf("exit status %d: %s", code, errs.String())
	}
	if n := strings.Count(out.String(), "read back as"); n != 4 || !strings.Contains(out.String(), "X-Amz-Signature") {
		t.Errorf("%d objects read back in\n%s", n, out.String())
	}
	lib, err := open(context.Background(), data, engines{s3, hbase, table})
	if err != nil {
		t.Fatal(err)
	}
	defer lib.Close()
	found := 0
	for obj, err := range lib.articles.Scan(context.Background(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lib.read(context.Background(), &obj.Meta); err != nil {
			t.Error(err)
		}
		found++
	}
	if found != 1 {
		t.Errorf("%d articles", found)
	}
}

func TestPages(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	lib, err := open(ctx, filepath.Join(dir, "lib"), engines{})
	if err != nil {
		t.Fatal(err)
	}
	defer lib.Close()
	if err := os.WriteFile(filepath.Join(dir, "film.mp4"), []byte("not really"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := lib.storeSamples(ctx, &out); err != nil {
		t.Fatal(err)
	}
	if err := lib.storeFile(ctx, filepath.Join(dir, "film.mp4"), &out); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(lib.pages())
	defer srv.Close()
	get := func(path string, want int) (string, http.Header) {
		t.Helper()
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d: %v", path, resp.StatusCode, want, err)
		}
		return string(b), resp.Header
	}
	index, _ := get("/", 200)
	for _, want := range []string{"weave.png", "heddle.txt", "film.mp4", "<img", "<video", "A heddle lifts"} {
		if !strings.Contains(index, want) {
			t.Errorf("no %s on the page", want)
		}
	}
	for _, link := range regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllStringSubmatch(index, -1) {
		if body, _ := get(link[1], 200); body == "" {
			t.Errorf("%s is empty", link[1])
		}
	}
	if _, h := get(regexp.MustCompile(`img src="([^"]+)"`).FindStringSubmatch(index)[1], 200); h.Get("Content-Type") != "image/png" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Error(h)
	}
	get("/object/1042:5", 404)
	get("/object/7:5", 404)
	get("/object/x!", 404)
	get("/content/zzzzz", 404)
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{"x.png": "no picture", "x.bin": "\x00\x01\x02"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-x"}, 2, "-x"},
		{[]string{"-once", filepath.Join(dir, "absent")}, 1, "absent"},
		{[]string{"-once", filepath.Join(dir, "x.png")}, 1, "x.png: image: unknown format"},
		{[]string{"-once", filepath.Join(dir, "x.bin")}, 1, "neither video nor image nor text"},
		{[]string{"-once", "-s3", "nonsense"}, 1, "-s3 wants"},
		{[]string{"-once", "-hbase", "nonsense"}, 1, "gateway"},
		{[]string{"-once", "-addr", "nowhere:x"}, 1, "listen tcp"},
	} {
		var errs strings.Builder
		if code := run(context.Background(), c.args, io.Discard, &errs); code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%v: exit status %d, want %d; %s", c.args, code, c.code, errs.String())
		}
	}
}
