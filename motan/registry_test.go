package motan_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/motan/motantest"
)

func TestStaticIsARegistry(t *testing.T) {
	motantest.TestRegistry(t, func(*testing.T) motantest.Target {
		return motantest.Target{
			Registry: motan.Static("10.0.0.1:1", "unix:/run/x"),
			Fixed:    []motan.Endpoint{{Addr: "10.0.0.1:1"}, {Addr: "unix:/run/x"}},
		}
	})
}

// registryFile writes what a File reads.
type registryFile struct {
	path    string
	entries []map[string]any
}

func (f *registryFile) set(t testing.TB, service, group, version string, list []motan.Endpoint) {
	t.Helper()
	var points []map[string]any
	for _, e := range list {
		points = append(points, map[string]any{"addr": e.Addr, "weight": e.Weight})
	}
	entry := map[string]any{"service": service, "group": group, "version": version, "endpoints": points}
	found := false
	for i, e := range f.entries {
		if e["service"] == service && e["group"] == group && e["version"] == version {
			f.entries[i], found = entry, true
		}
	}
	if !found {
		f.entries = append(f.entries, entry)
	}
	b, err := json.Marshal(f.entries)
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, string(b))
}

func (f *registryFile) write(t testing.TB, content string) {
	t.Helper()
	if err := os.WriteFile(f.path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.path+".new", f.path); err != nil {
		t.Fatal(err)
	}
}

func TestFileIsARegistry(t *testing.T) {
	motantest.TestRegistry(t, func(t *testing.T) motantest.Target {
		f := &registryFile{path: filepath.Join(t.TempDir(), "endpoints.json")}
		reg, err := motan.NewFile(f.path, &motan.FileOptions{Every: time.Millisecond, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		return motantest.Target{Registry: reg, Set: func(service, group, version string, list []motan.Endpoint) {
			f.set(t, service, group, version, list)
		}}
	})
}

func TestFileKeepsWhatItKnows(t *testing.T) {
	a, b := startNode(t, "a", nil), startNode(t, "b", nil)
	f := &registryFile{path: filepath.Join(t.TempDir(), "endpoints.json")}
	reg, err := motan.NewFile(f.path, &motan.FileOptions{Every: time.Millisecond, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		"":   "EOF",
		"{}": "cannot unmarshal",
		`[{"service":"test.Echo","endpoints":[{"addr":"nowhere"}]}]`:           "missing port",
		`[{"service":"test.Echo","endpoints":[{"address":"127.0.0.1:1"}]}]`:    "unknown field",
		`[{"endpoints":[{"addr":"127.0.0.1:1"}]}]`:                             "no service",
		`[{"service":"another","endpoints":[{"addr":"127.0.0.1:1"}]}]`:         "no endpoint of test.Echo",
		`[{"service":"test.Echo","version":"2","endpoints":[{"addr":"x:1"}]}]`: "no endpoint of test.Echo",
	} {
		f.write(t, content)
		err := reg.Watch(t.Context(), "test.Echo", "", "", func([]motan.Endpoint) { t.Error("updated") })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", content, err, want)
		}
	}
	f.write(t, `[{"service":"test.Echo","endpoints":[{"addr":"`+a.addr+`"}]}]`)
	c := newClient(t, "test.Echo", reg, &motan.ClientOptions{Timeout: patience, SlowStart: -1})
	if s := call(t, c, "say", "x"); s != "a:x" {
		t.Error(s)
	}
	f.write(t, "half a fi")
	os.Remove(f.path)
	f.write(t, "[]")
	if s := call(t, c, "say", "x"); s != "a:x" {
		t.Error(s)
	}
	f.write(t, `[{"service":"test.Echo","endpoints":[{"addr":"`+b.addr+`"}]}]`)
	eventually(t, "the change is seen", func() bool { return call(t, c, "say", "x") == "b:x" })
	if _, err := motan.NewFile("", &motan.FileOptions{}); err == nil {
		t.Error("a file without a path")
	}
}
