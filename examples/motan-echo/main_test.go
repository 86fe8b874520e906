package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
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
		for _, s := range []string{"simple", "breeze", "hessian2", "json", "msgpack", "protobuf"} {
			if s == "protobuf" && slices.Contains([]string{"join", "helloMap", "echoAny", "echoList", "bytes"}, tc.method) {
				continue // it has no lists, maps, bytes and any
			}
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
	// grpc-pb takes messages only, and says so.
	if err := run(t.Context(), []string{"-call", addr, "-serialization", "grpc-pb", "-arg", "Ray"}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "is no message") {
		t.Errorf("grpc-pb: %v", err)
	}
	for _, s := range serializations() {
		if s == "grpc-pb" {
			continue
		}
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

// What was measured is printed when the user has enough of it, or the server goes.
func TestLoadEndsEarly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	var out bytes.Buffer
	if err := run(ctx, []string{"-load", "-for", "1m", "-callers", "20", "-timeout", "20s"}, &out, io.Discard); err != nil || !strings.Contains(out.String(), "QPS") {
		t.Errorf("interrupted: %q, %v", out.String(), err)
	}
	srv, addr, err := own()
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, func() { srv.Close() })
	out.Reset()
	err = run(t.Context(), []string{"-call", addr, "-load", "-for", "1m", "-callers", "20", "-timeout", "2s"}, &out, io.Discard)
	if err == nil || !strings.Contains(err.Error(), " of 20 callers: ") || strings.Count(err.Error(), "\n") > 5 || !strings.Contains(out.String(), "QPS") {
		t.Errorf("the server went: %q, %v", out.String(), err)
	}
}

func TestReachable(t *testing.T) {
	if got := reachable(&net.TCPAddr{IP: net.IPv4(10, 1, 0, 1), Port: 81}); got != "10.1.0.1:81" {
		t.Error(got)
	}
	for _, ip := range []net.IP{net.IPv4zero, net.IPv6unspecified} {
		host, port, err := net.SplitHostPort(reachable(&net.TCPAddr{IP: ip, Port: 81}))
		if got := net.ParseIP(host); err != nil || port != "81" || got == nil || got.IsUnspecified() {
			t.Errorf("%v: %s, %s, %v", ip, host, port, err)
		}
	}
}

func TestBadArgumentsAreNamed(t *testing.T) {
	for _, method := range []string{"int64", "int32", "int16", "byte", "f32", "f64", "join", "helloMap", "echoList", "echoAny"} {
		err := run(t.Context(), []string{"-call", "x:1", "-method", method, "-arg", "{"}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), `-arg "{": `+method) {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, args := range [][]string{
		{}, {"extra"}, {"-serve", ":0", "-call", "x:1"}, {"-load", "-callers", "0"}, {"-call", "x:1", "-serialization", "morse"},
		{"-call", "x:1", "-method", "int64", "-arg", "x"}, {"-call", "x:1", "-method", "join", "-arg", "x"}, {"-call", "x:1", "-method", "echoAny", "-arg", "{"},
		{"-unknown"}, {"-call", "x:1", "-zk", "y:1"}, {"-serve", "127.0.0.1:0", "-serialization", "morse"},
	} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
