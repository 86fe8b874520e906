package rpc_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	motango "github.com/weibocom/motan-go"
	"github.com/weibocom/motan-go/config"
	mcore "github.com/weibocom/motan-go/core"
	vlog "github.com/weibocom/motan-go/log"
)

// quiet is motan-go's logger. It keeps the last complaints, which are all that
// motan-go says about a server that could not start.
type quiet struct {
	mu     sync.Mutex
	errors []string
}

var complaints = &quiet{}

func (q *quiet) note(s string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.errors) == 1000 {
		q.errors = q.errors[500:]
	}
	q.errors = append(q.errors, s)
}

// about returns the noted errors that contain s.
func (q *quiet) about(s string) (found []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.errors {
		if strings.Contains(e, s) {
			found = append(found, e)
		}
	}
	return found
}

func (q *quiet) Infoln(...any)                   {}
func (q *quiet) Infof(string, ...any)            {}
func (q *quiet) Warningln(...any)                {}
func (q *quiet) Warningf(string, ...any)         {}
func (q *quiet) Errorln(a ...any)                { q.note(fmt.Sprintln(a...)) }
func (q *quiet) Errorf(f string, a ...any)       { q.note(fmt.Sprintf(f, a...)) }
func (q *quiet) Fatalln(a ...any)                { panic(fmt.Sprintln(a...)) }
func (q *quiet) Fatalf(f string, a ...any)       { panic(fmt.Sprintf(f, a...)) }
func (q *quiet) AccessLog(*vlog.AccessLogEntity) {}
func (q *quiet) MetricsLog(string)               {}
func (q *quiet) Flush()                          {}
func (q *quiet) SetAsync(bool)                   {}
func (q *quiet) GetLevel() vlog.LogLevel         { return vlog.ErrorLevel }
func (q *quiet) SetLevel(vlog.LogLevel)          {}
func (q *quiet) SetAccessStructured(bool)        {}
func (q *quiet) GetAccessLogAvailable() bool     { return false }
func (q *quiet) SetAccessLogAvailable(bool)      {}
func (q *quiet) GetMetricsLogAvailable() bool    { return false }
func (q *quiet) SetMetricsLogAvailable(bool)     {}

var motanGoOnce sync.Once

// motanGo silences motan-go and returns its extensions. Its state is global.
func motanGo() mcore.ExtensionFactory {
	motanGoOnce.Do(func() { vlog.LogInit(complaints) })
	return motango.GetDefaultExtFactory()
}

// motanGoServer runs motan-go's own server and returns its address. services
// holds one implementation, or one provider extension's name, for each path;
// params are further lines for each service, such as "mingzSize: 100".
func motanGoServer(t testing.TB, services map[string]any, params ...string) string {
	t.Helper()
	ext := motanGo()
	for range 20 {
		port := freePort(t)
		var yaml strings.Builder
		yaml.WriteString("motan-server:\n  log_dir: stdout\n  application: peer-server\n")
		yaml.WriteString("motan-registry:\n  direct:\n    protocol: direct\n")
		yaml.WriteString("motan-service:\n")
		for path, impl := range services {
			fmt.Fprintf(&yaml, "  %s:\n    path: %s\n    group: demo-rpc\n    version: \"1.0\"\n    registry: direct\n    host: 127.0.0.1\n    ref: %s\n    export: %d\n", path, path, path, port)
			if name, ok := impl.(string); ok {
				fmt.Fprintf(&yaml, "    provider: %s\n", name)
			}
			for _, p := range params {
				fmt.Fprintf(&yaml, "    %s\n", p)
			}
		}
		conf, err := config.NewConfigFromReader(strings.NewReader(yaml.String()))
		if err != nil {
			t.Fatal(err)
		}
		ms := motango.NewMotanServerContextFromConfig(conf)
		for path, impl := range services {
			if _, ok := impl.(string); ok {
				impl = &struct{}{} // the provider extension does the work
			}
			if err := ms.RegisterService(impl, path); err != nil {
				t.Fatal(err)
			}
		}
		ms.Start(ext)
		// It only logs that it could not listen.
		if len(complaints.about(fmt.Sprintf("listen port:%d fail", port))) == 0 {
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	t.Fatal("motan-go found no port that was still free")
	return ""
}

func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// motanGoClient returns motan-go's own client of a service at addr.
func motanGoClient(t testing.TB, addr, path string, params ...string) *motango.Client {
	t.Helper()
	ext := motanGo()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	var yaml strings.Builder
	yaml.WriteString("motan-client:\n  log_dir: stdout\n  application: peer-client\n")
	fmt.Fprintf(&yaml, "motan-registry:\n  direct:\n    protocol: direct\n    host: %s\n    port: %s\n", host, port)
	fmt.Fprintf(&yaml, "motan-refer:\n  it:\n    path: %s\n    group: demo-rpc\n    version: \"1.0\"\n    protocol: motan2\n    registry: direct\n", path)
	yaml.WriteString("    requestTimeout: 30000\n    connectTimeout: 10000\n    asyncInitConnection: \"false\"\n    haStrategy: failover\n    loadbalance: roundrobin\n")
	if !strings.Contains(strings.Join(params, "\n"), "serialization:") {
		yaml.WriteString("    serialization: simple\n")
	}
	for _, p := range params {
		fmt.Fprintf(&yaml, "    %s\n", p)
	}
	conf, err := config.NewConfigFromReader(strings.NewReader(yaml.String()))
	if err != nil {
		t.Fatal(err)
	}
	mc := motango.NewClientContextFromConfig(conf)
	mc.Start(ext)
	c := mc.GetClient("it")
	if c == nil {
		t.Fatalf("motan-go made no client: %v", complaints.about(path))
	}
	return c
}

// motanGoEndpoint returns motan-go's own endpoint for addr, which shows whole
// answers where its client shows messages only.
func motanGoEndpoint(t testing.TB, addr, path string, params map[string]string) mcore.EndPoint {
	t.Helper()
	ext := motanGo()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	url := &mcore.URL{Protocol: "motan2", Host: host, Path: path, Group: "demo-rpc", Parameters: map[string]string{
		"serialization": "simple", "requestTimeout": "30000", "connectTimeout": "10000", "asyncInitConnection": "false", "version": "1.0",
	}}
	fmt.Sscan(port, &url.Port)
	for k, v := range params {
		url.Parameters[k] = v
	}
	ep := ext.GetEndPoint(url)
	if ep == nil {
		t.Fatal("motan-go made no endpoint")
	}
	ep.SetSerialization(ext.GetSerialization(url.Parameters["serialization"], -1))
	mcore.Initialize(ep)
	t.Cleanup(ep.Destroy)
	return ep
}

// until waits for a condition that something else brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(30 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited 30 s: %s", what)
		}
	}
}
