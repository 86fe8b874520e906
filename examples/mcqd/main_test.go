package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// start runs mcqd until stop is called, which returns its error.
func start(t *testing.T, args ...string) (addr, admin string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0"}, args...), w)
		w.Close()
		done <- err
	}()
	stop = func() error {
		cancel()
		return <-done
	}
	lines := bufio.NewScanner(r)
	for addr == "" && lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "figures on "); ok {
			admin = strings.TrimSuffix(url, "/stats")
		}
		if _, rest, ok := strings.Cut(lines.Text(), " on 127.0.0.1:"); ok && strings.HasPrefix(lines.Text(), "serving") {
			port, _, _ := strings.Cut(rest, ",")
			addr = "127.0.0.1:" + port
		}
	}
	go io.Copy(io.Discard, r)
	if addr == "" {
		t.Fatalf("mcqd did not start: %v", stop())
	}
	return addr, admin, stop
}

// file is a file with that text.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func talk(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, request+"quit\r\n"); err != nil {
		t.Fatal(err)
	}
	reply, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(reply)
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v, %v", url, resp.Status, err)
	}
	return string(body)
}

func TestServeAndCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "store")
	addr, admin, stop := start(t, "-data", dir, "-auth", file(t, "ada:secret word\n"), "-max-length", "2")
	login := "set auth 0 0 15\r\nada secret word\r\n"
	if got := talk(t, addr, "get q\r\n"+login+"set q 0 0 1\r\na\r\nset q 0 0 1\r\nb\r\nset q 0 0 1\r\nc\r\nget q\r\n"); got !=
		"CLIENT_ERROR unauthenticated\r\nSTORED\r\nSTORED\r\nSTORED\r\nNOT_STORED\r\nVALUE q 0 1\r\na\r\nEND\r\n" {
		t.Errorf("got %q", got)
	}
	if got := fetch(t, admin+"/stats"); !strings.Contains(got, `"Name":"q","Put":2,"Done":1`) {
		t.Errorf("stats %s", got)
	}
	if got := fetch(t, admin+"/metrics"); !strings.Contains(got, `mcq_backlog{queue="q"} 1`) || !strings.Contains(got, "# TYPE mcq_put_total counter") {
		t.Errorf("metrics %s", got)
	}
	if got := fetch(t, admin+"/healthz"); got != "ok\n" {
		t.Errorf("health %q", got)
	}
	for _, args := range [][]string{{"-data", dir, "-addr", "127.0.0.1:0"}, {"-check", dir}} {
		err := run(t.Context(), args, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "store in use") {
			t.Errorf("%q: %v", args, err)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(t.Context(), []string{"-check", dir}, &out); err != nil {
		t.Fatal(err)
	}
	if want := "queue q: put 2, done 1, backlog 1\n1 queues, backlog 1\n2 messages of 2 bytes stored, 1 of them consumed and not removed yet\n"; out.String() != want {
		t.Errorf("check says %q", out.String())
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables %q, %v", tables, err)
	}
	for _, table := range tables {
		data, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for i := range data[:len(data)/2] {
			data[i] ^= 0xff
		}
		if err := os.WriteFile(table, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(t.Context(), []string{"-check", dir}, &out); err == nil {
		t.Errorf("a damaged store is fine: %s", out.String())
	}
}

func TestFlags(t *testing.T) {
	data := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-tls-cert", "x", "-tls-key", "y"}, "no such file"},
		{[]string{"-auth", "/nowhere"}, "/nowhere"},
		{[]string{"-auth", file(t, "ada\n")}, "line 1"},
		{[]string{"-queues", "/nowhere"}, "/nowhere"},
		{[]string{"-queues", file(t, "{")}, "line 1"},
		{[]string{"-admin", "nowhere:x"}, "unknown port"},
		{[]string{"-addr", "256.0.0.1:1"}, "256.0.0.1"},
		{[]string{"-check", filepath.Join(data, "none")}, "no store here"},
	} {
		args := append([]string{"-addr", "127.0.0.1:0", "-data", filepath.Join(data, "store")}, c.args...)
		if err := run(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want something about %s", c.args, err, c.want)
		}
	}
}

// What is wrong with the flags is said at once, each with its range, and is told from
// what failed.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		want []string
	}{
		{"extra", []string{`"extra"`}},
		{"-nonsense", []string{"-nonsense"}},
		{"-drain soon", []string{"-drain"}},
		{"-sync sometimes", []string{`-sync "sometimes": want always, interval or none`}},
		{"-tls-cert x", []string{"-tls-cert and -tls-key go together"}},
		{"-max-message 0", []string{"-max-message 0: want 1 to 67108864"}},
		{"-max-message -1", []string{"-max-message -1: want 1 to 67108864"}},
		{"-max-message 67108865", []string{"-max-message 67108865: want 1 to 67108864"}},
		{"-interval 0", []string{"-interval 0s: want 1ms to 1h"}},
		{"-interval 2h", []string{"-interval 2h0m0s: want 1ms to 1h"}},
		{"-drain -1s", []string{"-drain -1s: want 0"}},
		{"-idle -1s", []string{"-idle -1s: want 0"}},
		{"-max-length -1 -drain -2s", []string{"-max-length -1: want 0", "-drain -2s"}},
		{"-min-free -5", []string{"-min-free -5: want -1"}},
		{"-max-conns 0", []string{"-max-conns 0: want at least 1"}},
		{"-open-timeout 13h", []string{"-open-timeout 13h0m0s: want 1s to 12h"}},
		{"-allow-flush-all -refuse-drop", []string{"-allow-flush-all and -refuse-drop"}},
		{"-queues x -max-length 1", []string{"-max-length and -drop-oldest: with -queues"}},
		{"-drop-oldest", []string{"-drop-oldest: needs -max-length"}},
		{"-addr here", []string{`-addr "here": want host:port`}},
		{"-addr=", []string{`-addr "": want host:port`}},
		{"-admin 8080", []string{`-admin "8080": want host:port`}},
	} {
		var out strings.Builder
		err := run(t.Context(), append(strings.Fields(c.args), "-data", t.TempDir()), &out)
		if c.args == "extra" {
			err = run(t.Context(), []string{"extra"}, &out)
		}
		if _, ok := errors.AsType[usageError](err); !ok || out.Len() > 0 {
			t.Errorf("%s: %v, and printed %q", c.args, err, out.String())
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", c.args, err, want)
			}
		}
	}
	var out strings.Builder
	if err := run(t.Context(), []string{"-h"}, &out); err != nil || !strings.Contains(out.String(), "-max-message") {
		t.Errorf("help: %v, %q", err, out.String())
	}
}

// The server answers as its flags say.
func TestServerFlags(t *testing.T) {
	for flags, c := range map[string]struct{ request, reply string }{
		"": {"set q 0 -1 1\r\nx\r\nget q\r\nset q 0 0 1\r\nx\r\nset q 0 0 1\r\ny\r\nflush_all\r\ndelete q\r\n",
			"STORED\r\nEND\r\nSTORED\r\nNOT_STORED\r\nSERVER_ERROR flush_all is not allowed here\r\nDELETED\r\n"},
		"-full-error -ignore-exptime -allow-flush-all": {"set q 0 -1 1\r\nx\r\nset q 0 0 1\r\ny\r\nget q\r\nflush_all\r\nstats queue\r\n",
			"STORED\r\nSERVER_ERROR mcq: queue full: q: limit 1 messages, 0 bytes\r\nVALUE q 0 1\r\nx\r\nEND\r\nOK\r\nEND\r\n"},
		"-refuse-drop": {"set q 0 0 1\r\nx\r\ndelete q\r\nflush q\r\nget q\r\n",
			"STORED\r\nSERVER_ERROR delete of a queue is not allowed here\r\nSERVER_ERROR flush of a queue is not allowed here\r\nVALUE q 0 1\r\nx\r\nEND\r\n"},
	} {
		addr, _, stop := start(t, append(strings.Fields(flags), "-data", t.TempDir(), "-max-length", "1", "-min-free", "0")...)
		if got := talk(t, addr, c.request); got != c.reply {
			t.Errorf("%s: got %q, want %q", flags, got, c.reply)
		}
		if err := stop(); err != nil {
			t.Errorf("%s: %v", flags, err)
		}
	}
}

// When nothing can be put, whoever asks for the server's health is told.
func TestHealth(t *testing.T) {
	_, admin, stop := start(t, "-data", t.TempDir(), "-min-free", "4611686018427387904")
	resp, err := http.Get(admin + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "out of disk space") {
		t.Errorf("health of a full disk: %s, %s, %v", resp.Status, text, err)
	}
	if page := fetch(t, admin+"/metrics"); !strings.Contains(page, "mcq_disk_full 1\n") || !strings.Contains(page, "mcq_failed 0\n") {
		t.Errorf("metrics: %s", page)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// Every way to sync keeps what a clean stop leaves behind.
func TestSyncModes(t *testing.T) {
	for _, sync := range []string{"always", "interval", "none"} {
		dir := t.TempDir()
		addr, _, stop := start(t, "-data", dir, "-sync", sync)
		for i := range 10 {
			if got := talk(t, addr, fmt.Sprintf("set q 0 0 1\r\n%d\r\n", i)); got != "STORED\r\n" {
				t.Fatalf("%s: %q", sync, got)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b, err := mcq.Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s := b.Stats(); len(s.Queues) != 1 || s.Queues[0].Backlog() != 10 {
			t.Errorf("%s: %+v", sync, s)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Names of queues are bytes that need not be text; Prometheus must be able to
// read the page all the same.
func TestLabels(t *testing.T) {
	for name, want := range map[string]string{"q": "q", `a\"b`: `a\\\"b`, "p\u200bq": "p\u200bq", "p\xff\xfeq": "p\uFFFDq"} {
		page := metrics(mcq.Stats{Queues: []mcq.QueueStats{{Name: name}}}, mcq.ServerStats{})
		if !strings.Contains(page, `mcq_backlog{queue="`+want+`"} 0`) {
			t.Errorf("%q: %s", name, page)
		}
	}
}
