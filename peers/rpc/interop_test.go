package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	motango "github.com/weibocom/motan-go"
	mcore "github.com/weibocom/motan-go/core"
	"github.com/weibreeze/breeze-go"

	"github.com/heddle-go/heddle/motan"
)

const echoPath = "com.example.EchoService"

// goEcho is the echo service as motan-go serves it: by reflection.
type goEcho struct{}

func (*goEcho) Hello(name string) string { return "hello " + name }
func (*goEcho) Join(s string, n int64, b []byte, ok bool, f float64, list []string) string {
	return fmt.Sprintf("%s|%d|%x|%t|%g|%s", s, n, b, ok, f, strings.Join(list, ","))
}
func (*goEcho) HelloMap(m map[string]string) map[string]string {
	return map[string]string{"keys": strings.Join(slices.Sorted(maps.Keys(m)), ",")}
}
func (*goEcho) EchoMap(m map[string]string) map[string]string { return m }
func (*goEcho) EchoAny(m map[any]any) map[any]any             { return m }
func (*goEcho) EchoList(l []any) []any                        { return l }
func (*goEcho) Strings(l []string) []string                   { return l }
func (*goEcho) Bytes(b []byte) []byte                         { return b }
func (*goEcho) Bool(v bool) bool                              { return v }
func (*goEcho) Byte(v byte) byte                              { return v }
func (*goEcho) Int16(v int16) int16                           { return v }
func (*goEcho) Int32(v int32) int32                           { return v }
func (*goEcho) Int64(v int64) int64                           { return v }
func (*goEcho) F32(v float32) float32                         { return v }
func (*goEcho) F64(v float64) float64                         { return v }
func (*goEcho) Nothing()                                      {}
func (*goEcho) Panic(name string) string                      { panic("boom " + name) }

type joinArgs struct {
	motan.Positional
	S     string
	N     int64
	Bytes []byte
	OK    bool
	F     float64
	List  []string
}

func echo[T any](_ context.Context, v *T) (*T, error) { return v, nil }

// heddleEcho serves the same with Heddle and returns its address.
func heddleEcho(t testing.TB, gzipOver int) string {
	t.Helper()
	srv, err := motan.NewServer(&motan.ServerOptions{Logger: slog.New(slog.DiscardHandler), GzipOver: gzipOver, AnswerOneWay: true})
	if err != nil {
		t.Fatal(err)
	}
	motan.Handle(srv, echoPath, "hello", func(_ context.Context, name *string) (*string, error) {
		s := "hello " + *name
		return &s, nil
	})
	motan.Handle(srv, echoPath, "join", func(_ context.Context, a *joinArgs) (*string, error) {
		s := (*goEcho)(nil).Join(a.S, a.N, a.Bytes, a.OK, a.F, a.List)
		return &s, nil
	})
	motan.Handle(srv, echoPath, "helloMap", func(_ context.Context, m *map[string]string) (*map[string]string, error) {
		out := (*goEcho)(nil).HelloMap(*m)
		return &out, nil
	})
	motan.Handle(srv, echoPath, "echoMap", echo[map[string]string])
	motan.Handle(srv, echoPath, "echoAny", echo[any])
	motan.Handle(srv, echoPath, "echoList", echo[[]any])
	motan.Handle(srv, echoPath, "strings", echo[[]string])
	motan.Handle(srv, echoPath, "bytes", echo[[]byte])
	motan.Handle(srv, echoPath, "bool", echo[bool])
	motan.Handle(srv, echoPath, "byte", echo[byte])
	motan.Handle(srv, echoPath, "int16", echo[int16])
	motan.Handle(srv, echoPath, "int32", echo[int32])
	motan.Handle(srv, echoPath, "int64", echo[int64])
	motan.Handle(srv, echoPath, "f32", echo[float32])
	motan.Handle(srv, echoPath, "f64", echo[float64])
	motan.Handle(srv, echoPath, "nothing", func(context.Context, *motan.Args) (*string, error) { return nil, nil })
	motan.Handle(srv, echoPath, "panic", func(_ context.Context, name *string) (*string, error) { panic("boom " + *name) })
	motan.Handle(srv, echoPath, "fail", func(_ context.Context, name *string) (*string, error) {
		return nil, &motan.Error{Code: 20101, Type: motan.Business, Message: "no " + *name}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return ln.Addr().String()
}

func heddleClient(t testing.TB, addr, path string, opts motan.ClientOptions) *motan.Client {
	t.Helper()
	opts.Group, opts.Application = "demo-rpc", "heddle-client"
	if opts.Timeout == 0 {
		opts.Timeout = 30 * time.Second
	}
	c, err := motan.NewClient(path, motan.Static(addr), &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// value is an argument for a method that gives it back.
type value struct {
	method string
	v      any
	pb     bool // motan-go's protobuf serialization has it
	call   func(context.Context, *motan.Client) (any, error)
}

func val[T any](method string, v T, pb bool) value {
	return value{method, v, pb, func(ctx context.Context, c *motan.Client) (any, error) {
		got, err := motan.Call[T](ctx, c, method, v)
		if err != nil {
			return nil, err
		}
		return *got, nil
	}}
}

var values = []value{
	val("hello", "Ray", true),
	val("hello", "", true),
	val("hello", "微博 😀", true),
	val("hello", strings.Repeat("long ", 20000), true),
	val("echoMap", map[string]string{"name": "ray", "id": "7"}, false),
	val("echoMap", map[string]string{}, false),
	val("echoAny", map[any]any{"i": int64(5), "l": []any{"s", int32(-1), true, float64(1.5), []byte{1}}, "m": map[string]string{"k": "v"}}, false),
	val("echoList", []any{"s", int32(-1), int64(1 << 40), true, byte(7), float32(0.5), []string{"x"}}, false),
	val("strings", []string{"x", "yz", ""}, false),
	val("bytes", []byte{0xde, 0xad, 0}, false),
	val("bytes", []byte{}, false),
	val("bool", true, true),
	val("bool", false, true),
	val("byte", byte(200), true),
	val("int16", int16(-2), true),
	val("int16", int16(-1<<15), true),
	val("int32", int32(-70000), true),
	val("int32", int32(-1<<31), true),
	val("int32", int32(1<<31-1), true),
	val("int64", int64(1<<40), true),
	val("int64", int64(-1<<63), true),
	val("f32", float32(0.5), true),
	val("f64", -0.25, true),
}

// want is what a method answers to v.
func want(method string, v any) any {
	if method == "hello" {
		return "hello " + v.(string)
	}
	return v
}

// same compares what came back; motan-go turns what is empty into nil.
func same(got, want any) bool {
	if rv := reflect.ValueOf(want); (rv.Kind() == reflect.Map || rv.Kind() == reflect.Slice) && rv.Len() == 0 {
		g := reflect.ValueOf(got)
		return !g.IsValid() || g.Len() == 0
	}
	return reflect.DeepEqual(plain(got), plain(want))
}

// plain takes away the types of maps, lists and integers, which motan-go's breeze
// forgets inside others.
func plain(v any) any {
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.Map:
		m := map[any]any{}
		for it := rv.MapRange(); it.Next(); {
			m[plain(it.Key().Interface())] = plain(it.Value().Interface())
		}
		return m
	case reflect.Slice:
		if _, ok := v.([]byte); ok {
			return v
		}
		list := []any{}
		for i := range rv.Len() {
			list = append(list, plain(rv.Index(i).Interface()))
		}
		return list
	case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64:
		return rv.Int()
	}
	return v
}

// forms are the ways in which calls can travel; lines go into motan-go's configuration.
var forms = []struct {
	name  string
	ser   motan.Serializer
	gzip  int // the size in bytes over which Heddle compresses
	lines []string
}{
	{"simple", motan.Simple{}, 0, []string{"serialization: simple"}},
	{"simple, gzip", motan.Simple{}, 1, []string{"serialization: simple", "mingzSize: 1"}},
	{"breeze", motan.Breeze{}, 0, []string{"serialization: breeze"}},
	{"protobuf", motan.Protobuf{}, 0, []string{"serialization: protobuf"}},
}

func TestMotanGoCallsHeddle(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			addr := heddleEcho(t, f.gzip)
			c := motanGoClient(t, addr, echoPath, f.lines...)
			for _, tc := range values {
				if f.name == "protobuf" && !tc.pb {
					continue
				}
				reply := reflect.New(reflect.TypeOf(want(tc.method, tc.v)))
				if reply.Elem().Kind() == reflect.Map { // its breeze panics on a nil one
					reply.Elem().Set(reflect.MakeMap(reply.Elem().Type()))
				}
				if err := c.Call(tc.method, []any{tc.v}, reply.Interface()); err != nil {
					t.Errorf("%s(%T): %v", tc.method, tc.v, err)
				} else if got := reply.Elem().Interface(); !same(got, want(tc.method, tc.v)) {
					t.Errorf("%s: %.300q, want %.300q", tc.method, fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", want(tc.method, tc.v)))
				}
			}
			if err := c.Call("nothing", nil, nil); err != nil {
				t.Errorf("nothing(): %v", err)
			}
			if f.name == "protobuf" {
				return
			}
			var joined string
			args := []any{"a", int64(-300), []byte{0xde, 0xad}, true, 1.5, []string{"x", "yz"}}
			if err := c.Call("join", args, &joined); err != nil || joined != "a|-300|dead|true|1.5|x,yz" {
				t.Errorf("join: %q, %v", joined, err)
			}
		})
	}
}

func TestHeddleCallsMotanGo(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			addr := motanGoServer(t, map[string]any{echoPath: &goEcho{}}, f.lines...)
			c := heddleClient(t, addr, echoPath, motan.ClientOptions{Serializer: f.ser, GzipOver: f.gzip})
			ctx := t.Context()
			for _, tc := range values {
				if f.name == "protobuf" && !tc.pb {
					continue
				}
				if rv := reflect.ValueOf(tc.v); rv.Kind() == reflect.Map && rv.Len() == 0 {
					continue // motan-go cannot hand nil, which it makes of this, to its own provider
				}
				if got, err := tc.call(ctx, c); err != nil {
					t.Errorf("%s(%T): %v", tc.method, tc.v, err)
				} else if !same(got, want(tc.method, tc.v)) {
					t.Errorf("%s: %.300q, want %.300q", tc.method, fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", want(tc.method, tc.v)))
				}
			}
			if _, err := motan.Call[string](ctx, c, "nothing", motan.Args{}); err != nil {
				t.Errorf("nothing(): %v", err)
			}
			if f.name == "protobuf" {
				return
			}
			args := joinArgs{S: "a", N: -300, Bytes: []byte{0xde, 0xad}, OK: true, F: 1.5, List: []string{"x", "yz"}}
			if joined, err := motan.Call[string](ctx, c, "join", &args); err != nil || *joined != "a|-300|dead|true|1.5|x,yz" {
				t.Errorf("join: %v, %v", joined, err)
			}
		})
	}
}

// user is a struct that both sides know, as a breeze message.
type user struct {
	_       struct{} `motan:"com.example.User"`
	ID      int64    `breeze:"1"`
	Name    string   `breeze:"2"`
	Friends []*user  `breeze:"3"`
}

// goUser is the same to breeze-go, with its generic message.
func goUser(id int64, name string, friends ...*breeze.GenericMessage) *breeze.GenericMessage {
	m := &breeze.GenericMessage{Name: "com.example.User"}
	m.PutField(1, id)
	m.PutField(2, name)
	if len(friends) > 0 {
		m.PutField(3, friends)
	}
	return m
}

// goUsers is what motan-go serves with them.
type goUsers struct{}

func (*goUsers) Befriend(u *breeze.GenericMessage) *breeze.GenericMessage {
	return goUser(u.GetFieldByIndex(1).(int64)+1, "friend of "+u.GetFieldByIndex(2).(string), u)
}

func TestBreezeMessages(t *testing.T) {
	const path = "com.example.UserService"
	addr := motanGoServer(t, map[string]any{path: &goUsers{}}, "serialization: breeze")
	c := heddleClient(t, addr, path, motan.ClientOptions{Serializer: motan.Breeze{}})
	u, err := motan.Call[user](t.Context(), c, "befriend", &user{ID: 7, Name: "ray"})
	if err != nil || u.ID != 8 || u.Name != "friend of ray" || len(u.Friends) != 1 || u.Friends[0].ID != 7 {
		t.Errorf("Heddle calls motan-go: %+v, %v", u, err)
	}
	srv, err := motan.NewServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	motan.Handle(srv, path, "befriend", func(_ context.Context, u *user) (*user, error) {
		return &user{ID: u.ID + 1, Name: "friend of " + u.Name, Friends: []*user{u}}, nil
	})
	ln := listen(t)
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	reply := &breeze.GenericMessage{Name: "com.example.User"}
	err = motanGoClient(t, ln.Addr().String(), path, "serialization: breeze").Call("befriend", []any{goUser(7, "ray")}, reply)
	if err != nil || reply.GetFieldByIndex(1) != int64(8) || reply.GetFieldByIndex(2) != "friend of ray" {
		t.Fatalf("motan-go calls Heddle: %+v, %v", reply, err)
	}
	friends := reply.GetFieldByIndex(3).([]any)
	if f, ok := friends[0].(*breeze.GenericMessage); len(friends) != 1 || !ok || f.GetFieldByIndex(1) != int64(7) {
		t.Errorf("motan-go calls Heddle: friends %+v", friends)
	}
}

// rejecting is a motan-go provider extension: it answers every method with a
// business exception, which motan-go's own provider cannot.
type rejecting struct{ url *mcore.URL }

func (p *rejecting) SetService(any)                 {}
func (p *rejecting) GetPath() string                { return p.url.Path }
func (p *rejecting) GetURL() *mcore.URL             { return p.url }
func (p *rejecting) SetURL(u *mcore.URL)            { p.url = u }
func (p *rejecting) IsAvailable() bool              { return true }
func (p *rejecting) Destroy()                       {}
func (p *rejecting) GetRuntimeInfo() map[string]any { return nil }
func (p *rejecting) Call(r mcore.Request) mcore.Response {
	return mcore.BuildExceptionResponse(r.GetRequestID(), &mcore.Exception{ErrCode: 20101, ErrMsg: "no such thing", ErrType: mcore.BizException})
}

func TestMotanGoExceptionsReachHeddle(t *testing.T) {
	const failPath = "com.example.Rejecting"
	motanGo().RegistExtProvider("rejecting", func(u *mcore.URL) mcore.Provider { return &rejecting{u} })
	addr := motanGoServer(t, map[string]any{echoPath: &goEcho{}, failPath: "rejecting"})
	for _, tc := range []struct {
		path, method string
		code         int
		typ          motan.ErrorType
		says         string
	}{
		{echoPath, "noSuch", 500, motan.Service, "noSuch is not found"},
		{echoPath, "panic", 500, motan.Service, "provider call panic"},
		{"com.example.NoSuchService", "hello", 404, motan.Service, "provider not exist serviceKey="},
		{failPath, "anything", 20101, motan.Business, "no such thing"},
	} {
		c := heddleClient(t, addr, tc.path, motan.ClientOptions{HA: motan.Failfast})
		_, err := motan.Call[string](t.Context(), c, tc.method, "x")
		var e *motan.Error
		if !errors.As(err, &e) || e.Code != tc.code || e.Type != tc.typ || !strings.Contains(e.Message, tc.says) {
			t.Errorf("%s.%s: %v", tc.path, tc.method, err)
		}
	}
}

func request(path, method string, args ...any) *mcore.MotanRequest {
	r := &mcore.MotanRequest{RequestID: 1, ServiceName: path, Method: method, Arguments: args, Attachment: mcore.NewStringMap(8)}
	r.SetAttachment("M_p", path)
	r.SetAttachment("M_m", method)
	r.SetAttachment("M_g", "demo-rpc")
	return r
}

func TestHeddleExceptionsReachMotanGo(t *testing.T) {
	addr := heddleEcho(t, 0)
	for _, tc := range []struct {
		path, method string
		code, typ    int
		says         string
	}{
		{echoPath, "noSuch", 500, mcore.ServiceException, "noSuch is not found"},
		{echoPath, "panic", 500, mcore.ServiceException, "provider call panic"},
		{"com.example.NoSuchService", "hello", 404, mcore.ServiceException, "provider not exist serviceKey="},
		{echoPath, "fail", 20101, mcore.BizException, "no x"},
	} {
		res := motanGoEndpoint(t, addr, tc.path, nil).Call(request(tc.path, tc.method, "x"))
		e := res.GetException()
		if e == nil || e.ErrCode != tc.code || e.ErrType != tc.typ || !strings.Contains(e.ErrMsg, tc.says) {
			t.Errorf("%s.%s: %+v", tc.path, tc.method, e)
		}
	}
	// Its client shows the message.
	err := motanGoClient(t, addr, echoPath).Call("fail", []any{"x"}, new(string))
	if err == nil || err.Error() != "no x" {
		t.Errorf("fail: %v", err)
	}
}

// A node that motan-go has given up takes calls again once Heddle has answered
// its heartbeat.
func TestMotanGoHeartbeat(t *testing.T) {
	ep := motanGoEndpoint(t, heddleEcho(t, 0), echoPath, map[string]string{"errorCountThreshold": "1", "keepaliveInterval": "20"})
	until(t, "the endpoint connects", ep.IsAvailable)
	if e := ep.Call(request(echoPath, "noSuch", "x")).GetException(); e == nil {
		t.Fatal("no exception from a method that is not there")
	}
	until(t, "a heartbeat brings the endpoint back", ep.IsAvailable)
	if e := ep.Call(request(echoPath, "hello", "x")).GetException(); e != nil {
		t.Errorf("after the heartbeat: %+v", e)
	}
}

// goSlow answers when it is told to.
type goSlow struct{ begun, end chan struct{} }

func (s *goSlow) Slow(name string) string {
	s.begun <- struct{}{}
	<-s.end
	return "at last " + name
}

// A connection whose calls take long stays up as long as motan-go answers
// Heddle's heartbeats.
func TestHeddleHeartbeat(t *testing.T) {
	const path = "com.example.Slow"
	slow := &goSlow{make(chan struct{}, 1), make(chan struct{})}
	relay, answered := countHeartbeats(t, motanGoServer(t, map[string]any{path: slow}))
	c := heddleClient(t, relay, path, motan.ClientOptions{HA: motan.Failfast, Connections: 1, Heartbeat: time.Second})
	call := motan.Go[string](t.Context(), c, "slow", "x")
	<-slow.begun
	until(t, "motan-go answers two heartbeats", func() bool { return answered.Load() >= 2 })
	close(slow.end)
	if s, err := call.Wait(); err != nil || *s != "at last x" {
		t.Errorf("%v, %v", s, err)
	}
}

// countHeartbeats passes one connection on to addr and counts the answers to
// heartbeats that come back on it.
func countHeartbeats(t *testing.T, addr string) (relay string, answered *atomic.Int64) {
	t.Helper()
	ln, answered := listen(t), new(atomic.Int64)
	go func() {
		near, err := ln.Accept()
		if err != nil {
			return
		}
		defer near.Close()
		far, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		go func() {
			defer far.Close()
			io.Copy(far, near)
		}()
		buf := make([]byte, 64<<10)
		for {
			n, err := far.Read(buf)
			answered.Add(int64(bytes.Count(buf[:n], []byte{0xf1, 0xf1, 0x13})))
			if _, werr := near.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	}()
	return ln.Addr().String(), answered
}

// motan-go answers one-way calls too; what it says is dropped.
func TestHeddleOneWay(t *testing.T) {
	const path = "com.example.Slow"
	slow := &goSlow{make(chan struct{}, 1), make(chan struct{})}
	close(slow.end)
	c := heddleClient(t, motanGoServer(t, map[string]any{path: slow}), path, motan.ClientOptions{Connections: 1})
	for range 10 {
		if err := motan.Send(t.Context(), c, "slow", "x"); err != nil {
			t.Fatal(err)
		}
		<-slow.begun
	}
	call := motan.Go[string](t.Context(), c, "slow", "y")
	<-slow.begun
	if s, err := call.Wait(); err != nil || *s != "at last y" {
		t.Errorf("%v, %v", s, err)
	}
}

// motan-go waits for the answer to a one-way call.
func TestMotanGoOneWay(t *testing.T) {
	ep := motanGoEndpoint(t, heddleEcho(t, 0), echoPath, nil)
	r := request(echoPath, "hello", "x")
	r.GetRPCContext(true).Oneway = true
	if e := ep.Call(r).GetException(); e != nil {
		t.Errorf("%+v", e)
	}
}

// Many callers share each side's few connections, and each gets its own answer.
func TestConcurrentCalls(t *testing.T) {
	const callers, each = 64, 100
	heddle := heddleEcho(t, 0)
	theirs := motanGoServer(t, map[string]any{echoPath: &goEcho{}})
	goClient := motanGoClient(t, heddle, echoPath)
	ours := heddleClient(t, theirs, echoPath, motan.ClientOptions{})
	both := map[string]func(string) (string, error){
		"motan-go calls Heddle": func(name string) (string, error) { return callGo(goClient, name) },
		"Heddle calls motan-go": func(name string) (string, error) {
			s, err := motan.Call[string](context.Background(), ours, "hello", name)
			if err != nil {
				return "", err
			}
			return *s, nil
		},
	}
	for name, call := range both {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					for k := range each {
						name := fmt.Sprintf("%d/%d", i, k)
						if got, err := call(name); err != nil || got != "hello "+name {
							t.Errorf("hello(%s) = %q, %v", name, got, err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func callGo(c *motango.Client, name string) (string, error) {
	var reply string
	err := c.Call("hello", []any{name}, &reply)
	return reply, err
}
