package zkregistry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/motan/motantest"
	"github.com/heddle-go/heddle/motan/zkregistry"
)

const patience = 30 * time.Second

// server returns the address of a ZooKeeper server.
func server(t testing.TB) string {
	t.Helper()
	addr := os.Getenv("HEDDLE_TEST_ZOOKEEPER")
	if addr == "" {
		t.Skip("HEDDLE_TEST_ZOOKEEPER is not set: start a ZooKeeper server (Debian package zookeeper) and give its host:port")
	}
	return addr
}

// group is a group that no other test or run uses.
func group(t testing.TB) string {
	return fmt.Sprintf("test-%s-%d", strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()), time.Now().UnixNano())
}

func open(t testing.TB, addr string, opts *zkregistry.Options) *zkregistry.Registry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if opts == nil {
		opts = &zkregistry.Options{}
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	r, err := zkregistry.Open(ctx, []string{addr}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// apart keeps what tests announce in groups of their own.
type apart struct {
	*zkregistry.Registry
	prefix string
}

func (a apart) Watch(ctx context.Context, service, group, version string, update func([]motan.Endpoint)) error {
	return a.Registry.Watch(ctx, service, a.prefix+group, version, update)
}

func (a apart) Announce(ctx context.Context, o motan.Offer) (func(context.Context) error, error) {
	o.Group = a.prefix + o.Group
	return a.Registry.Announce(ctx, o)
}

func TestZooKeeperIsARegistry(t *testing.T) {
	addr := server(t)
	motantest.TestRegistry(t, func(t *testing.T) motantest.Target {
		r := apart{open(t, addr, nil), group(t)}
		return motantest.Target{Registry: r, Announcer: r}
	})
}

func (a apart) WatchCommands(ctx context.Context, group string, update func([]byte)) error {
	return a.Registry.WatchCommands(ctx, a.prefix+group, update)
}

func TestZooKeeperIsACommandSource(t *testing.T) {
	addr := server(t)
	raw, _, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogger(noLog{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	motantest.TestCommandSource(t, func(t *testing.T) motantest.CommandTarget {
		r := apart{open(t, addr, nil), group(t)}
		t.Cleanup(func() {
			for _, g := range []string{"motantest", "motantest2"} {
				raw.Delete("/motan/"+r.prefix+g+"/command", -1)
				raw.Delete("/motan/"+r.prefix+g, -1)
			}
		})
		return motantest.CommandTarget{Source: r, Set: func(group string, command []byte) {
			t.Helper()
			if err := setCommand(raw, r.prefix+group, command); err != nil {
				t.Fatal(err)
			}
		}}
	})
}

// setCommand writes the command of a group as Motan's tools do.
func setCommand(conn *zk.Conn, group string, command []byte) error {
	path := "/motan/" + group + "/command"
	if len(command) == 0 {
		return conn.Delete(path, -1)
	}
	_, err := conn.Set(path, command, -1)
	if !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	for _, dir := range []string{"/motan", "/motan/" + group} {
		if _, err := conn.Create(dir, nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
	}
	_, err = conn.Create(path, command, 0, zk.WorldACL(zk.PermAll))
	return err
}

// A node that holds no text is no command, but does not take the one before back.
func TestUnreadableCommandIsPassedOn(t *testing.T) {
	addr, g := server(t), group(t)
	raw, _, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogger(noLog{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	t.Cleanup(func() { setCommand(raw, g, nil); raw.Delete("/motan/"+g, -1) })
	const readable, cutOff = "\xac\xed\x00\x05t\x00\x02{}", "\xac\xed\x00\x05t\x00\x03{}"
	if err := setCommand(raw, g, []byte(readable)); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 8)
	if err := open(t, addr, nil).WatchCommands(t.Context(), g, func(b []byte) { got <- string(b) }); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "{}" {
		t.Fatalf("%q", s)
	}
	if err := setCommand(raw, g, []byte(cutOff)); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != cutOff {
		t.Errorf("%q, want what is there", s)
	}
}

// relay stands between a registry and ZooKeeper and can cut the two apart.
type relay struct {
	gate  sync.RWMutex // locked: what comes is kept back, and no connection closes
	ln    net.Listener
	to    string
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func startRelay(t testing.TB, to string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{ln: ln, to: to}
	t.Cleanup(func() { ln.Close(); r.set(true) })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			if r.cut {
				in.Close()
				r.mu.Unlock()
				continue
			}
			r.mu.Unlock()
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, in, out)
			r.mu.Unlock()
			go r.pass(in, out)
			go r.pass(out, in)
		}
	}()
	return r
}

func (r *relay) pass(to, from net.Conn) {
	defer to.Close()
	for b := make([]byte, 4096); ; {
		n, err := from.Read(b)
		r.gate.RLock()
		to.Write(b[:n])
		r.gate.RUnlock()
		if err != nil {
			return
		}
	}
}

func (r *relay) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	if cut {
		for _, c := range r.conns {
			c.Close()
		}
		r.conns = nil
	}
}

// list keeps the last list of a watch.
type list struct {
	mu   sync.Mutex
	last []motan.Endpoint
}

func (l *list) update(e []motan.Endpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = e
}

func (l *list) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var addrs []string
	for _, e := range l.last {
		addrs = append(addrs, e.Addr)
	}
	return strings.Join(addrs, " ")
}

func offer(group, addr string) motan.Offer {
	return motan.Offer{Service: "com.example.S", Group: group, Version: "1.0", Endpoint: motan.Endpoint{Addr: addr, Weight: 20}}
}

// While ZooKeeper is out of reach clients keep what they know. When the session is
// lost, what was announced comes back by itself.
func TestOutage(t *testing.T) {
	addr, g := server(t), group(t)
	direct := open(t, addr, nil)
	between := startRelay(t, addr)
	far := open(t, between.ln.Addr().String(), &zkregistry.Options{SessionTimeout: time.Second})
	if _, err := far.Announce(t.Context(), offer(g, "127.0.0.1:1")); err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Announce(t.Context(), offer(g, "127.0.0.1:2")); err != nil {
		t.Fatal(err)
	}
	var seenDirect, seenFar list
	if err := direct.Watch(t.Context(), "com.example.S", g, "1.0", seenDirect.update); err != nil {
		t.Fatal(err)
	}
	if err := far.Watch(t.Context(), "com.example.S", g, "1.0", seenFar.update); err != nil {
		t.Fatal(err)
	}
	both := "127.0.0.1:1 127.0.0.1:2"
	if seenDirect.String() != both || seenFar.String() != both {
		t.Fatalf("%v; %v", &seenDirect, &seenFar)
	}
	between.set(true)
	eventually(t, "the node of the lost session goes", func() bool { return seenDirect.String() == "127.0.0.1:2" })
	if seenFar.String() != both {
		t.Errorf("while ZooKeeper is gone the list is %v", &seenFar)
	}
	leave, err := direct.Announce(t.Context(), offer(g, "127.0.0.1:3"))
	if err != nil {
		t.Fatal(err)
	}
	between.set(false)
	eventually(t, "it is announced again", func() bool { return seenDirect.String() == both+" 127.0.0.1:3" })
	eventually(t, "what changed meanwhile is seen", func() bool { return seenFar.String() == both+" 127.0.0.1:3" })
	// And changes are followed as before.
	if err := leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "changes are seen", func() bool { return seenFar.String() == both && seenDirect.String() == both })
	if s := far.Stats(); s.Announces < 2 || s.Updates < 3 {
		t.Errorf("stats %+v", s)
	}
}

// What waits for a ZooKeeper that does not answer ends with its context; nothing of
// it is left over when ZooKeeper answers again.
func TestRequestsEndWithTheirContext(t *testing.T) {
	addr, g := server(t), group(t)
	direct := open(t, addr, nil)
	between := startRelay(t, addr)
	far := open(t, between.ln.Addr().String(), &zkregistry.Options{SessionTimeout: patience})
	leave, err := far.Announce(t.Context(), offer(g, "127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	var seen list
	if err := direct.Watch(t.Context(), "com.example.S", g, "1.0", seen.update); err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Announce(t.Context(), offer(g, "127.0.0.1:2")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are seen", func() bool { return seen.String() == "127.0.0.1:1 127.0.0.1:2" })
	between.gate.Lock()
	for what, request := range map[string]func(context.Context) error{
		"leave": leave,
		"announce": func(ctx context.Context) error {
			_, err := far.Announce(ctx, offer(g, "127.0.0.1:3"))
			return err
		},
		"watch": func(ctx context.Context) error {
			return far.Watch(ctx, "com.example.Other", g, "1.0", func([]motan.Endpoint) {})
		},
		"watch commands": func(ctx context.Context) error {
			return far.WatchCommands(ctx, g, func([]byte) {})
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		ended := make(chan error, 1)
		go func() { ended <- request(ctx) }()
		select {
		case err := <-ended:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(patience / 3):
			t.Errorf("%s does not heed its context", what)
		}
		cancel()
	}
	between.gate.Unlock()
	eventually(t, "what was given up is gone", func() bool { return seen.String() == "127.0.0.1:2" })
	// The one whose announcement was given up can be announced.
	if _, err := far.Announce(t.Context(), offer(g, "127.0.0.1:3")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is announced", func() bool { return seen.String() == "127.0.0.1:2 127.0.0.1:3" })
}

// An interruption within the session changes nothing.
func TestReconnect(t *testing.T) {
	addr, g := server(t), group(t)
	direct := open(t, addr, nil)
	between := startRelay(t, addr)
	far := open(t, between.ln.Addr().String(), &zkregistry.Options{SessionTimeout: patience})
	if _, err := far.Announce(t.Context(), offer(g, "127.0.0.1:1")); err != nil {
		t.Fatal(err)
	}
	var seen list
	if err := far.Watch(t.Context(), "com.example.S", g, "1.0", seen.update); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		between.set(true)
		between.set(false)
		leave, err := direct.Announce(t.Context(), offer(g, "127.0.0.1:2"))
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprint("change ", i, " is seen"), func() bool { return seen.String() == "127.0.0.1:1 127.0.0.1:2" })
		if err := leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "and undone", func() bool { return seen.String() == "127.0.0.1:1" })
	}
	if n := far.Stats().Announces; n != 1 {
		t.Errorf("announced %d times", n)
	}
}

func TestForeignNodesAndEmptyLists(t *testing.T) {
	addr, g := server(t), group(t)
	raw, _, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogger(noLog{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	r := open(t, addr, &zkregistry.Options{Java: true, Application: "test"})
	var seen list
	if err := r.Watch(t.Context(), "com.example.S", g, "1.0", seen.update); err != nil {
		t.Fatal(err)
	}
	if s := seen.String(); s != "" {
		t.Errorf("a service that nobody offers: %s", s)
	}
	leave, err := r.Announce(t.Context(), offer(g, "127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first one is seen", func() bool { return seen.String() == "127.0.0.1:1" })
	path := "/motan/" + g + "/com.example.S/server/"
	content, stat, err := raw.Get(path + "127.0.0.1:1")
	if err != nil || !strings.HasPrefix(string(content), "\xac\xed\x00\x05t") || stat.EphemeralOwner == 0 ||
		!strings.HasSuffix(string(content), "motan2://127.0.0.1:1/com.example.S?group="+g+"&application=test&nodeType=service&serialization=simple&version=1.0&weight=20") {
		t.Errorf("the node holds %q, %v", content, err)
	}
	for name, content := range map[string]string{
		"127.0.0.1:2": "motan2://127.0.0.1:2/com.example.S?module=motan&nodeType=service&version=1.0&group=" + g + "&export=demo%3A8100&",
		"127.0.0.1:3": "",
		"127.0.0.1:4": "motan2://127.0.0.1:4/com.example.S?version=9",
		"nonsense:::": "nonsense",
	} {
		if _, err := raw.Create(path+name, []byte(content), 0, zk.WorldACL(zk.PermAll)); err != nil {
			t.Fatal(err)
		}
		defer raw.Delete(path+name, -1)
	}
	eventually(t, "those that fit are seen", func() bool { return seen.String() == "127.0.0.1:1 127.0.0.1:2 127.0.0.1:3" })
	// A node that is left over from a session that has not ended yet is replaced.
	if _, err := raw.Create(path+"127.0.0.1:5", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	leave5, err := r.Announce(t.Context(), offer(g, "127.0.0.1:5"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Announce(t.Context(), offer(g, "127.0.0.1:5")); err == nil {
		t.Error("announced twice")
	}
	_, after, err := raw.Get(path + "127.0.0.1:5")
	if err != nil || after.EphemeralOwner != stat.EphemeralOwner {
		t.Errorf("the node belongs to session %x, want %x; %v", after.EphemeralOwner, stat.EphemeralOwner, err)
	}
	for _, l := range []func(context.Context) error{leave, leave5} {
		if err := l(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "they are gone", func() bool { return seen.String() == "127.0.0.1:2 127.0.0.1:3" })
	for _, name := range []string{"127.0.0.1:2", "127.0.0.1:3"} {
		if err := raw.Delete(path+name, -1); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the empty list is ignored", func() bool { return r.Stats().Emptied > 0 })
	if seen.String() == "" {
		t.Error("the list was emptied")
	}
}

type noLog struct{}

func (noLog) Printf(string, ...any) {}

// serveWhere starts a server whose only method says at which address it is.
func serveWhere(t *testing.T) (srv *motan.Server, at string) {
	t.Helper()
	srv, err := motan.NewServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at = ln.Addr().String()
	motan.Handle(srv, "com.example.S", "where", func(context.Context, *string) (*string, error) { return &at, nil })
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return srv, at
}

// A server and a client that know only ZooKeeper find each other, and shutting down
// takes the server off the list before it refuses calls.
func TestAnnouncedServerIsFound(t *testing.T) {
	addr, g := server(t), group(t)
	r := open(t, addr, nil)
	serve := func() (*motan.Server, string) {
		srv, at := serveWhere(t)
		if err := srv.Announce(t.Context(), r, g, "", motan.Endpoint{Addr: at}); err != nil {
			t.Fatal(err)
		}
		return srv, at
	}
	first, at1 := serve()
	c, err := motan.NewClient("com.example.S", r, &motan.ClientOptions{Group: g, Timeout: patience, SlowStart: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	where := func() string {
		s, err := motan.Call[string](t.Context(), c, "where", nil)
		if err != nil {
			t.Fatal(err)
		}
		return *s
	}
	if got := where(); got != at1 {
		t.Errorf("answered by %s, want %s", got, at1)
	}
	_, at2 := serve()
	eventually(t, "the second one is found", func() bool { return where() == at2 })
	if err := first.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if got := where(); got != at2 {
			t.Errorf("after the shutdown %s answered", got)
		}
	}
	eventually(t, "it is off the list", func() bool { return len(c.Stats().Endpoints) == 1 })
}

func TestOpenAndClose(t *testing.T) {
	for _, servers := range [][]string{nil, {"nowhere"}} {
		if _, err := zkregistry.Open(t.Context(), servers, nil); err == nil {
			t.Errorf("Open(%v): no error", servers)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := zkregistry.Open(ctx, []string{"127.0.0.1:1"}, &zkregistry.Options{Logger: slog.New(slog.DiscardHandler)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open without a server: %v", err)
	}
	r := open(t, server(t), nil)
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := r.Watch(t.Context(), "s", "g", "1.0", func([]motan.Endpoint) {}); !errors.Is(err, zkregistry.ErrClosed) {
		t.Errorf("Watch on a closed registry: %v", err)
	}
	if _, err := r.Announce(t.Context(), offer("g", "127.0.0.1:1")); !errors.Is(err, zkregistry.ErrClosed) {
		t.Errorf("Announce on a closed registry: %v", err)
	}
}

func TestCommands(t *testing.T) {
	addr, g := server(t), group(t)
	raw, _, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogger(noLog{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	r := open(t, addr, nil)
	for i, grp := range []string{g, g + "-b"} {
		if _, err := r.Announce(t.Context(), offer(grp, fmt.Sprintf("127.0.0.1:%d", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	reg := motan.Commanded(r, r, &motan.CommandedOptions{Logger: slog.New(slog.DiscardHandler)})
	var seen list
	if err := reg.Watch(t.Context(), "com.example.S", g, "1.0", seen.update); err != nil {
		t.Fatal(err)
	}
	if s := seen.String(); s != "127.0.0.1:1" {
		t.Errorf("without a command: %s", s)
	}
	path := "/motan/" + g + "/command"
	command := func(groups string) []byte {
		return []byte(`{"clientCommandList":[{"index":1,"commandType":0,"pattern":"com.example.*","mergeGroups":[` + groups + `]}]}`)
	}
	if _, err := raw.Create(path, command(`"`+g+`-b"`), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	defer raw.Delete(path, -1)
	eventually(t, "the traffic goes to the other group", func() bool { return seen.String() == "127.0.0.1:2" })
	if _, err := raw.Set(path, command(`"`+g+`:1","`+g+`-b:3"`), -1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both serve", func() bool { return seen.String() == "127.0.0.1:1 127.0.0.1:2" })
	if err := raw.Delete(path, -1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is as before", func() bool { return seen.String() == "127.0.0.1:1" })
}
