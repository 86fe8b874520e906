package jetqueue_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/jetqueue"
)

// patience is how long tests wait for what should happen at once.
const patience = 60 * time.Second

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// servers is a cluster of three NATS servers in this process.
type servers struct {
	list [3]*natsd.Server
	opts [3]*natsd.Options
}

// startServers starts them. Their routes must be known beforehand, and a port
// that was free may be somebody else's a moment later: then it tries others.
func startServers(dir string) (c *servers, err error) {
	for range 3 {
		if c, err = newServers(dir); err == nil {
			if err = c.run(); err == nil {
				return c, nil
			}
		}
		c.stop()
	}
	return nil, err
}

func newServers(dir string) (*servers, error) {
	c := &servers{}
	var routes []string
	for i := range c.opts {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return c, err
		}
		defer ln.Close()
		port := ln.Addr().(*net.TCPAddr).Port
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
		c.opts[i] = &natsd.Options{
			ServerName: fmt.Sprintf("s%d", i), Host: "127.0.0.1", Port: natsd.RANDOM_PORT, NoLog: true, NoSigs: true,
			JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprintf("s%d", i)),
			Cluster: natsd.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port},
		}
		if i == len(c.opts)-1 {
			for _, o := range c.opts {
				o.Routes = natsd.RoutesFromStr(strings.Join(routes, ","))
			}
		}
	}
	return c, nil
}

// run starts all servers and waits until they are one cluster.
func (c *servers) run() error {
	for i := range c.list {
		if err := c.start(i); err != nil {
			return err
		}
	}
	return c.ready()
}

// ready waits until every server is up to date with the others.
func (c *servers) ready() error {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		ready := 0
		for _, s := range c.list {
			if s.JetStreamIsCurrent() {
				ready++
			}
		}
		if i := c.metaLeader(); ready == len(c.list) && i >= 0 && len(c.list[i].JetStreamClusterPeers()) == ready {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the servers are no cluster after %v", patience)
		}
	}
}

func (c *servers) metaLeader() int {
	for i, s := range c.list {
		if s != nil && s.JetStreamIsLeader() {
			return i
		}
	}
	return -1
}

// start starts server i, after a stop on the same ports and files.
func (c *servers) start(i int) error {
	s, err := natsd.NewServer(c.opts[i])
	if err != nil {
		return err
	}
	c.list[i] = s
	s.Start()
	for end := time.Now().Add(patience); s.Addr() == nil || s.ClusterAddr() == nil; time.Sleep(time.Millisecond) {
		if !s.Running() || time.Now().After(end) {
			return fmt.Errorf("server %d does not listen", i)
		}
	}
	c.opts[i].Port = s.Addr().(*net.TCPAddr).Port
	return nil
}

func (c *servers) stop() {
	for _, s := range c.list {
		if s != nil {
			s.Shutdown()
			s.WaitForShutdown()
		}
	}
}

func (c *servers) urls() string {
	var urls []string
	for _, s := range c.list {
		urls = append(urls, s.ClientURL())
	}
	return strings.Join(urls, ",")
}

// common is the cluster that tests share that do not break it.
var common struct {
	once sync.Once
	dir  string
	c    *servers
	err  error
}

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "8") // most of what they do is to wait
	code := m.Run()
	if leaked := ourGoroutines(); code == 0 && leaked != "" {
		fmt.Fprintf(os.Stderr, "goroutines left after the tests:\n%s\n", leaked)
		code = 1
	}
	if common.c != nil {
		common.c.stop()
	}
	if common.dir != "" {
		os.RemoveAll(common.dir)
	}
	os.Exit(code)
}

// ourGoroutines returns the stacks of goroutines that run code of this package,
// once they have had time to end.
func ourGoroutines() string {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		buf := make([]byte, 8<<20)
		var ours []string
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:] {
			if strings.Contains(g, "mcq/jetqueue.") {
				ours = append(ours, g)
			}
		}
		if len(ours) == 0 || time.Now().After(end) {
			return strings.Join(ours, "\n\n")
		}
	}
}

func commonServers(t testing.TB) *servers {
	t.Helper()
	common.once.Do(func() {
		if common.dir, common.err = os.MkdirTemp("", "jetqueue"); common.err == nil {
			common.c, common.err = startServers(common.dir)
		}
	})
	if common.err != nil {
		t.Fatal(common.err)
	}
	return common.c
}

var prefixes atomic.Int64

func newPrefix() string { return fmt.Sprintf("t%d", prefixes.Add(1)) }

func connect(t testing.TB, c *servers) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(c.urls(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// open opens the shared cluster under a prefix of the test's own. Unless opts say
// otherwise, each queue is on one of the servers: on a loaded machine replicas
// elect new leaders now and then, after which the order and the count of attempts
// are not what they were. What replicas promise all the same is tested with three.
func open(t testing.TB, opts *jetqueue.Options) *jetqueue.Cluster {
	t.Helper()
	var o jetqueue.Options
	if opts != nil {
		o = *opts
	}
	if o.Prefix == "" {
		o.Prefix = newPrefix()
	}
	if o.Timeout == 0 {
		o.Timeout = patience // a loaded machine is slow
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	return openOn(t, commonServers(t), &o)
}

func openOn(t testing.TB, s *servers, o *jetqueue.Options) *jetqueue.Cluster {
	t.Helper()
	nc := connect(t, s)
	c, err := jetqueue.Open(t.Context(), nc, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// jetStream is a client beside ours.
func jetStream(t testing.TB, s *servers) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(connect(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func queue(t testing.TB, c *jetqueue.Cluster, name string) *jetqueue.Queue {
	t.Helper()
	q, err := c.Queue(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func put(t testing.TB, q *jetqueue.Queue, bodies ...string) {
	t.Helper()
	msgs := make([]mcq.Message, len(bodies))
	for i := range bodies {
		msgs[i].Body = []byte(bodies[i])
	}
	if err := q.Put(t.Context(), msgs...); err != nil {
		t.Fatal(err)
	}
}

func lease(t testing.TB, q *jetqueue.Queue, limit int, o mcq.LeaseOptions) []mcq.Message {
	t.Helper()
	msgs, err := q.Lease(t.Context(), limit, o)
	if err != nil {
		t.Fatal(err)
	}
	return msgs
}

// leaseAll leases until it has n messages. It does not leave while a slow server
// has still to answer: what came then would be given back, and out of order.
func leaseAll(t testing.TB, q *jetqueue.Queue, n int) []mcq.Message {
	t.Helper()
	var all []mcq.Message
	for end := time.Now().Add(patience); len(all) < n; {
		if time.Now().After(end) {
			t.Fatalf("got %d of %d messages", len(all), n)
		}
		all = append(all, lease(t, q, n-len(all), mcq.LeaseOptions{Duration: time.Hour, Wait: patience})...)
	}
	return all
}

func bodies(msgs []mcq.Message) string {
	list := make([]string, len(msgs))
	for i := range msgs {
		list[i] = string(msgs[i].Body)
	}
	return strings.Join(list, " ")
}

func ids(msgs []mcq.Message) []uint64 {
	list := make([]uint64, len(msgs))
	for i := range msgs {
		list[i] = msgs[i].ID
	}
	return list
}

// waitFor waits until cond is true.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

func backlog(t testing.TB, q *jetqueue.Queue) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	st, err := q.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return st.Backlog()
}
