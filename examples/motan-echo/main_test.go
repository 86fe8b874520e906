package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"
)

// Each method through each serialization that carries its types, as the command
// line has it.
func TestCalls(t *testing.T) {
	srv, addr, err := own()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	for _, tc := range []struct{ method, arg, want string }{
		{"hello", "Ray", "hello Ray"},
		{"join", "a|-300|x|true|1.5|x,yz", "a|-300|78|true|1.5|x,yz"},
		{"helloMap", `{"name":"ray","id":"7"}`, "map[keys:id,name]"},
		{"echoAny", `"text"`, "text"},
		{"echoAny", `true`, "true"},
		{"echoList", `["a",true]`, "[a true]"},
		{"bytes", "abc", "[97 98 99]"},
		{"int64", "-1099511627776", "-1099511627776"},
		{"int32", "-70000", "-70000"},
		{"int16", "-2", "-2"},
		{"byte", "200", "200"},
		{"f32", "0.5", "0.5"},
		{"f64", "-0.25", "-0.25"},
		{"nothing", "", "<nil>"},
	} {
		for _, s := range []string{"simple", "breeze", "hessian2"} {
			var out bytes.Buffer
			if err := run(t.Context(), []string{"-call", addr, "-serialization", s, "-timeout", "20s", "-method", tc.method, "-arg", tc.arg}, &out, io.Discard); err != nil {
				t.Errorf("%s %s: %v", s, tc.method, err)
				continue
			}
			if got := strings.TrimSpace(out.String()); got != tc.want {
				t.Errorf("%s %s(%s): %s, want %s", s, tc.method, tc.arg, got, tc.want)
			}
		}
	}
	for _, s := range serializations() {
		args := []string{"-call", addr, "-serialization", s, "-timeout", "20s"}
		for method, want := range map[string]string{"fail": "business error 30001: asked to fail", "panic": "service error 500: provider call panic"} {
			if err := run(t.Context(), append(args, "-method", method), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s: %v, want %q", s, method, err, want)
			}
		}
	}
}

func TestServeUntilDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan error)
	go func() { done <- run(ctx, []string{"-serve", "127.0.0.1:0"}, in, io.Discard) }()
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	_, addr, ok := strings.Cut(strings.TrimSpace(string(line[:n])), " serves at ")
	if !ok {
		t.Fatalf("it says %q", line[:n])
	}
	var got bytes.Buffer
	if err := run(t.Context(), []string{"-call", addr, "-arg", "you", "-timeout", "20s"}, &got, io.Discard); err != nil || got.String() != "hello you\n" {
		t.Errorf("%q, %v", got.String(), err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// Server and client meet in ZooKeeper.
func TestThroughZooKeeper(t *testing.T) {
	zk := os.Getenv("HEDDLE_TEST_ZOOKEEPER")
	if zk == "" {
		t.Skip("HEDDLE_TEST_ZOOKEEPER is not set: start a ZooKeeper server (Debian package zookeeper) and give its host:port")
	}
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan error)
	go func() { done <- run(ctx, []string{"-serve", "127.0.0.1:0", "-zk", zk}, in, io.Discard) }()
	if _, err := out.Read(make([]byte, 200)); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := run(t.Context(), []string{"-zk", zk, "-arg", "you", "-timeout", "20s"}, &got, io.Discard); err != nil || got.String() != "hello you\n" {
		t.Errorf("%q, %v", got.String(), err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func TestLoad(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-load", "-for", "50ms", "-callers", "4", "-timeout", "20s"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"QPS", "p50", "p99", "µs of CPU a call (client and server)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, args := range [][]string{
		{}, {"extra"}, {"-serve", ":0", "-call", "x:1"}, {"-load", "-callers", "0"}, {"-call", "x:1", "-serialization", "morse"},
		{"-call", "x:1", "-method", "int64", "-arg", "x"}, {"-call", "x:1", "-method", "join", "-arg", "x"}, {"-call", "x:1", "-method", "echoAny", "-arg", "{"},
		{"-unknown"},
	} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
