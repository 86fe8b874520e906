package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/motan"
)

var serializers = map[string]motan.Serializer{
	"simple": motan.Simple{}, "msgpack": motan.Msgpack{}, "protobuf": motan.Protobuf{}, "breeze": motan.Breeze{}, "json": motan.JSON{}, "hessian2": motan.Hessian2{},
	"grpc-pb": motan.GRPCPb{},
}

func serializations() []string { return slices.Sorted(maps.Keys(serializers)) }

// call makes one call, or many with -load.
func call(ctx context.Context, c *config, stdout io.Writer) error {
	var reg motan.Registry
	where := c.call
	switch {
	case c.call != "":
		reg = motan.Static(c.call)
	case c.zk != "":
		zk, err := openZooKeeper(ctx, c.zk)
		if err != nil {
			return err
		}
		defer zk.Close()
		reg, where = zk, "what ZooKeeper knows"
	default:
		srv, addr, err := own()
		if err != nil {
			return err
		}
		defer srv.Close()
		reg, where = motan.Static(addr), "a server in this process"
	}
	client, err := motan.NewClient(service, reg, &motan.ClientOptions{
		Group: group, Version: version, Application: "motan-echo", Serializer: serializers[c.serialization], Timeout: c.timeout,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	if c.load {
		return load(ctx, c, client, where, stdout)
	}
	arg, err := argument(c.method, c.arg)
	if err != nil {
		return fmt.Errorf("-arg %q: %s takes no such argument: %w", c.arg, c.method, err)
	}
	v, err := answer(ctx, client, c.method, arg)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%v\n", v)
	return nil
}

// answer calls a method for an answer of its own type, for not every serialization
// says what comes.
func answer(ctx context.Context, client *motan.Client, method string, arg any) (any, error) {
	switch method {
	case "hello", "join":
		return value[string](ctx, client, method, arg)
	case "helloMap":
		return value[map[string]string](ctx, client, method, arg)
	case "echoList":
		return value[[]any](ctx, client, method, arg)
	case "bytes":
		return value[[]byte](ctx, client, method, arg)
	case "int64":
		return value[int64](ctx, client, method, arg)
	case "int32":
		return value[int32](ctx, client, method, arg)
	case "int16":
		return value[int16](ctx, client, method, arg)
	case "byte":
		return value[byte](ctx, client, method, arg)
	case "f32":
		return value[float32](ctx, client, method, arg)
	case "f64":
		return value[float64](ctx, client, method, arg)
	case "nothing", "fail", "panic":
		_, err := motan.Call[motan.Raw](ctx, client, method, arg) // there is nothing to decode
		return nil, err
	}
	return value[any](ctx, client, method, arg)
}

func value[T any](ctx context.Context, client *motan.Client, method string, arg any) (any, error) {
	v, err := motan.Call[T](ctx, client, method, arg)
	if err != nil {
		return nil, err
	}
	return *v, nil
}

func own() (*motan.Server, string, error) {
	srv, err := motan.NewServer(nil)
	if err != nil {
		return nil, "", err
	}
	srv.Register(service, echo{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	go srv.Serve(ln)
	return srv, ln.Addr().String(), nil
}

// argument makes what a method takes out of text: numbers for those that take
// numbers, JSON for maps and lists, and for join six fields with | between them.
func argument(method, text string) (any, error) {
	bits := map[string]int{"int64": 64, "int32": 32, "int16": 16, "byte": 8, "f32": 32, "f64": 64}[method]
	switch method {
	case "nothing", "fail", "panic":
		return nil, nil
	case "int64", "int32", "int16":
		n, err := strconv.ParseInt(text, 10, bits)
		switch method {
		case "int32":
			return int32(n), err
		case "int16":
			return int16(n), err
		}
		return n, err
	case "byte":
		n, err := strconv.ParseUint(text, 10, bits)
		return byte(n), err
	case "f32", "f64":
		f, err := strconv.ParseFloat(text, bits)
		if method == "f32" {
			return float32(f), err
		}
		return f, err
	case "bytes":
		return []byte(text), nil
	case "helloMap":
		var m map[string]string
		return m, unmarshal(text, &m)
	case "echoList":
		var l []any
		return l, unmarshal(text, &l)
	case "echoAny":
		var v any
		err := unmarshal(text, &v)
		return v, err
	case "join":
		return joinArguments(text)
	}
	return text, nil
}

func unmarshal(text string, v any) error {
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return fmt.Errorf("want JSON: %w", err)
	}
	return nil
}

// joinArguments reads "text|int|bytes|bool|float|a,b,c".
func joinArguments(text string) (any, error) {
	f := strings.Split(text, "|")
	if len(f) != 6 {
		return nil, fmt.Errorf("want 6 fields with | between them, got %d", len(f))
	}
	n, err1 := strconv.ParseInt(f[1], 10, 64)
	b, err2 := strconv.ParseBool(f[3])
	x, err3 := strconv.ParseFloat(f[4], 64)
	return motan.Args{f[0], n, []byte(f[2]), b, x, strings.Split(f[5], ",")}, errors.Join(err1, err2, err3)
}

// load calls hello from many goroutines for a while.
func load(ctx context.Context, c *config, client *motan.Client, where string, stdout io.Writer) error {
	arg := strings.Repeat("x", c.size)
	if _, err := motan.Call[string](ctx, client, "hello", &arg); err != nil {
		return err
	}
	took := make([][]time.Duration, c.callers)
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := make(map[string]int) // callers, by the error that ended them
	cpu, began := cputime.Process(), time.Now()
	for i := range c.callers {
		wg.Go(func() {
			for t := time.Now(); t.Sub(began) < c.duration && ctx.Err() == nil; t = time.Now() {
				if _, err := motan.Call[string](ctx, client, "hello", &arg); err != nil {
					if ctx.Err() == nil { // not interrupted
						mu.Lock()
						failed[err.Error()]++
						mu.Unlock()
					}
					return
				}
				took[i] = append(took[i], time.Since(t))
			}
		})
	}
	wg.Wait()
	cpu, elapsed := cputime.Process()-cpu, time.Since(began)
	var err error
	for text, n := range failed {
		err = errors.Join(err, fmt.Errorf("%d of %d callers: %s", n, c.callers, text))
	}
	all := slices.Concat(took...)
	if len(all) == 0 {
		return errors.Join(err, errors.New("no call was answered"))
	}
	slices.Sort(all)
	whose := "this process, the client"
	if c.call == "" && c.zk == "" {
		whose = "client and server"
	}
	fmt.Fprintf(stdout, "hello of %d bytes at %s, %d callers: %.0f QPS, p50 %v, p99 %v, %.2f µs of CPU a call (%s)\n",
		c.size, where, c.callers, float64(len(all))/elapsed.Seconds(), all[len(all)/2].Round(time.Microsecond),
		all[len(all)*99/100].Round(time.Microsecond), float64(cpu.Nanoseconds())/1000/float64(len(all)), whose)
	return err
}
