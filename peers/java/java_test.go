package java_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/motan/zkregistry"
)

const echoPath = "com.example.EchoService"

// user is the bean com.example.User.
type user struct {
	_       struct{} `motan:"com.example.User"`
	ID      int64
	Name    string
	Age     int32
	Born    time.Time
	Photo   []byte
	Tags    []string
	Counts  map[string]int32
	Money   *motan.JavaObject
	Friends []*user
	Best    *user
}

// day is the bean com.example.Day.
type day struct {
	_     struct{} `motan:"com.example.Day"`
	Name  string
	At    time.Time
	Never *time.Time
	More  []time.Time
	Named map[string]time.Time
}

// echo is EchoService as Heddle offers it.
type echo struct{}

func (echo) Hello(_ context.Context, name string) (string, error) { return "hello " + name, nil }
func (echo) Join(_ context.Context, s string, n int64, b []byte, ok bool, f float64, list []string) (string, error) {
	return fmt.Sprintf("%s|%d|%x|%t|%g|%s", s, n, b, ok, f, strings.Join(list, ",")), nil
}
func (echo) EchoMap(_ context.Context, m map[string]string) (map[string]string, error) { return m, nil }
func (echo) EchoList(_ context.Context, l []any) ([]any, error)                        { return l, nil }
func (echo) Strings(_ context.Context, l []string) ([]string, error)                   { return l, nil }
func (echo) Bytes(_ context.Context, b []byte) ([]byte, error)                         { return b, nil }
func (echo) Bool(_ context.Context, v bool) (bool, error)                              { return v, nil }
func (echo) Int32(_ context.Context, v int32) (int32, error)                           { return v, nil }
func (echo) Int64(_ context.Context, v int64) (int64, error)                           { return v, nil }
func (echo) F64(_ context.Context, v float64) (float64, error)                         { return v, nil }
func (echo) Date(_ context.Context, v *time.Time) (*time.Time, error)                  { return v, nil }
func (echo) Day(_ context.Context, d *day) (*day, error)                               { return d, nil }
func (echo) Nothing(context.Context) error                                             { return nil }
func (echo) Fail(_ context.Context, name string) (string, error) {
	return "", &motan.Error{Code: 20101, Type: motan.Business, Message: "no " + name}
}
func (echo) Befriend(_ context.Context, u *user) (*user, error) {
	f := *u
	f.ID, f.Name, f.Friends, f.Best = u.ID+1, "friend of "+u.Name, []*user{u}, u
	return &f, nil
}

var serializers = []struct {
	name string
	ser  motan.Serializer
}{{"hessian2", motan.Hessian2{}}, {"simple", motan.Simple{}}, {"breeze", motan.Breeze{}}, {"fastjson", motan.JSON{}}}

const group = "demo-rpc"

// startHeddle offers the service and returns the server and its address.
func startHeddle(t *testing.T) (*motan.Server, string) {
	t.Helper()
	srv, err := motan.NewServer(&motan.ServerOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	srv.Register(echoPath, echo{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return srv, ln.Addr().String()
}

// call makes the Java peer call the service with every serialization.
func (j *jvm) call(t *testing.T, group, addr string) {
	for _, s := range serializers {
		t.Run(s.name, func(t *testing.T) {
			answer := j.do(t, "call %s %s %s", group, s.name, addr)
			if bad := j.failed(answer); bad != "" {
				t.Error(bad)
			}
			calls := 0
			for _, line := range answer {
				fmt.Sscanf(line, "calls %d", &calls)
			}
			if calls < 29 {
				t.Errorf("%d calls were checked", calls)
			}
		})
	}
}

// callWith calls the Java service with every serialization.
func callWith(t *testing.T, group string, reg motan.Registry) {
	for _, s := range serializers {
		t.Run(s.name, func(t *testing.T) {
			c, err := motan.NewClient(echoPath, reg, &motan.ClientOptions{
				Group: group, Application: "heddle", Serializer: s.ser, Timeout: 30 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			list := []any{"s", int32(-1), int64(1 << 40), true, 1.5}
			if s.name == "breeze" { // where Java takes all elements for what the first is
				list = []any{int64(1), int64(1 << 40)}
			} else if s.name == "fastjson" { // where numbers forget their types
				list = []any{"s", true}
			}
			callJava(t, c, list)
			sendDates(t, c, s.name)
			if s.name == "hessian2" {
				befriend(t, c)
			}
		})
	}
}

func TestJavaCallsHeddle(t *testing.T) {
	j := startJVM(t)
	_, addr := startHeddle(t)
	j.call(t, group, addr)
}

func TestHeddleCallsJava(t *testing.T) {
	addr := startJVM(t).serve(t, group, "")
	callWith(t, group, motan.Static(addr))
}

// Both sides find each other through one ZooKeeper.
func TestThroughZooKeeper(t *testing.T) {
	zookeeper := os.Getenv("HEDDLE_TEST_ZOOKEEPER")
	if zookeeper == "" {
		t.Skip("HEDDLE_TEST_ZOOKEEPER is not set: start a ZooKeeper server (Debian package zookeeper) and give its host:port")
	}
	j := startJVM(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	reg, err := zkregistry.Open(ctx, []string{zookeeper}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close() })
	unique := fmt.Sprintf("java-%d", time.Now().UnixNano())
	t.Run("Java finds Heddle", func(t *testing.T) {
		srv, addr := startHeddle(t)
		if err := srv.Announce(ctx, reg, unique+"-go", "1.0", motan.Endpoint{Addr: addr}); err != nil {
			t.Fatal(err)
		}
		j.call(t, unique+"-go", "zookeeper://"+zookeeper)
	})
	t.Run("Heddle finds Java", func(t *testing.T) {
		addr := j.serve(t, unique+"-java", zookeeper)
		found := make(chan string, 16)
		err := reg.Watch(ctx, echoPath, unique+"-java", "1.0", func(list []motan.Endpoint) {
			for _, e := range list {
				found <- e.Addr
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		select { // Java announces itself in its own time
		case at := <-found:
			// Motan Java does not announce loopback addresses if the machine has another.
			if _, port, _ := net.SplitHostPort(at); !strings.HasSuffix(addr, ":"+port) {
				t.Errorf("the registry has %s, want the port of %s", at, addr)
			}
		case <-ctx.Done():
			t.Fatal("the Java service did not appear in a minute")
		}
		callWith(t, unique+"-java", reg)
	})
}

// same makes a call and compares the answer.
func same[T any](t *testing.T, c *motan.Client, method string, req any, want T) {
	t.Helper()
	got, err := motan.Call[T](t.Context(), c, method, req)
	if err != nil {
		t.Errorf("%s: %v", method, err)
	} else if !reflect.DeepEqual(*got, want) {
		t.Errorf("%s: %.100v, want %.100v", method, *got, want)
	}
}

func callJava(t *testing.T, c *motan.Client, list []any) {
	for _, name := range []string{"Ray", "", "微博 😀", strings.Repeat("é", 70000)} {
		same(t, c, "hello", name, "hello "+name)
	}
	same(t, c, "join", motan.Args{"a", int64(-300), []byte{0xde, 0xad}, true, 1.5, []string{"x", "yz"}}, "a|-300|dead|true|1.5|x,yz")
	for _, m := range []map[string]string{{}, {"name": "ray", "id": "7"}} {
		same(t, c, "echoMap", m, m)
	}
	same(t, c, "echoList", list, list)
	same(t, c, "strings", []string{"x", "yz"}, []string{"x", "yz"})
	same(t, c, "bytes", []byte{1, 2, 200}, []byte{1, 2, 200})
	same(t, c, "bool", true, true)
	same(t, c, "bool", false, false)
	for _, v := range []int32{0, 7, -70000, math.MinInt32, math.MaxInt32} {
		same(t, c, "int32", v, v)
	}
	for _, v := range []int64{0, -300, 1 << 40, math.MinInt64, math.MaxInt64} {
		same(t, c, "int64", v, v)
	}
	for _, v := range []float64{0, -0.25, 1e300} {
		same(t, c, "f64", v, v)
	}
	if _, err := motan.Call[motan.Raw](t.Context(), c, "nothing", motan.Args{}); err != nil {
		t.Errorf("nothing: %v", err)
	}
	_, err := motan.Call[string](t.Context(), c, "fail", "x")
	var e *motan.Error
	if !errors.As(err, &e) || e.Type != motan.Business || !strings.Contains(e.Message, "no x") {
		t.Errorf("fail: %v", err)
	}
	_, err = motan.Call[string](t.Context(), c, "noSuch", "x")
	if !errors.As(err, &e) || e.Type != motan.Service {
		t.Errorf("noSuch: %v", err)
	}
}

// sendDates calls with dates: of milliseconds, which is all that Java's have.
func sendDates(t *testing.T, c *motan.Client, serialization string) {
	if serialization == "simple" { // where a date is text, which Java takes for a String only
		same(t, c, "hello", time.UnixMilli(1388505600123).UTC(), "hello 2013-12-31T16:00:00.123Z")
		var e *motan.Error
		if _, err := motan.Call[time.Time](t.Context(), c, "date", time.UnixMilli(7)); !errors.As(err, &e) || e.Type != motan.Service ||
			!strings.Contains(e.Message, "with receiver type:class java.util.Date") {
			t.Errorf("date: %v", err)
		}
		return
	}
	for _, ms := range []int64{0, 1388505600123, 1388505600120, 1388505600100, 1388505600003, 1388505600000, -1, 253402214400999} {
		v := time.UnixMilli(ms).UTC()
		same(t, c, "date", v, v)
		// Zones and what is finer than a millisecond are lost, no more.
		for _, zone := range []int{-5*3600 - 1800, 8 * 3600} {
			got, err := motan.Call[time.Time](t.Context(), c, "date", v.Add(456789).In(time.FixedZone("", zone)))
			if err != nil || !got.Equal(v) {
				t.Errorf("date %v with nanoseconds and a zone: %v, %v", v, got, err)
			}
		}
	}
	at, before := time.UnixMilli(7).UTC(), time.UnixMilli(-1).UTC()
	if serialization == "fastjson" { // where an Object that was a date stays text
		same(t, c, "echoList", []any{at, before}, []any{"1970-01-01T00:00:00.007Z", "1969-12-31T23:59:59.999Z"})
	} else {
		same(t, c, "echoList", []any{at, before}, []any{at, before})
	}
	if serialization == "breeze" { // which knows beans by their schema only
		return
	}
	d := day{Name: "new year", At: time.UnixMilli(1388505600123).UTC(), More: []time.Time{at, before}, Named: map[string]time.Time{"k": at}}
	same(t, c, "day", &d, d)
}

func befriend(t *testing.T, c *motan.Client) {
	u := &user{
		ID: 7, Name: "ray", Age: 30, Born: time.UnixMilli(1388505600123).UTC(), Photo: []byte{0xde, 0xad}, Tags: []string{"x", "yz"},
		Counts: map[string]int32{"k": 1}, Money: &motan.JavaObject{Class: "java.math.BigDecimal", Fields: map[string]any{"value": "9.99"}},
	}
	f, err := motan.Call[user](t.Context(), c, "befriend", u)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Friends) != 1 || f.Friends[0] != f.Best || f.Best == nil {
		t.Fatalf("friends %v, best %v", f.Friends, f.Best)
	}
	if !reflect.DeepEqual(f.Best, u) {
		t.Errorf("the user came back as %+v", *f.Best)
	}
	f.ID, f.Name, f.Friends, f.Best = u.ID, u.Name, nil, nil
	if !reflect.DeepEqual(f, u) {
		t.Errorf("the friend is %+v", *f)
	}
}
