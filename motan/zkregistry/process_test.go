package zkregistry_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/motan/zkregistry"
)

// zookeeper is a ZooKeeper process of the test's own.
type zookeeper struct {
	t       testing.TB
	java    string
	addr    string
	config  string
	process *exec.Cmd
}

// newZooKeeper chooses a port below those of outgoing connections, so that nobody
// takes it while the process is away.
func newZooKeeper(t testing.TB) *zookeeper {
	t.Helper()
	server(t) // no test of this package runs without a ZooKeeper
	java, err := exec.LookPath("java")
	jars, _ := filepath.Glob("/usr/share/java/zookeeper.jar")
	if err != nil || len(jars) == 0 {
		t.Skip("no java, or no /usr/share/java/zookeeper.jar: install Debian package zookeeper")
	}
	dir := t.TempDir()
	z := &zookeeper{t: t, java: java, config: filepath.Join(dir, "zoo.cfg")}
	port := 0
	for port == 0 {
		p := 20000 + rand.IntN(12000)
		if ln, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", p)); err == nil {
			ln.Close()
			port = p
		}
	}
	z.addr = fmt.Sprint("127.0.0.1:", port)
	cfg := fmt.Sprintf("tickTime=500\ndataDir=%s\nclientPort=%d\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=srvr\n", filepath.Join(dir, "data"), port)
	if err := os.WriteFile(z.config, []byte(cfg), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.kill)
	return z
}

// start begins the process and waits until it serves.
func (z *zookeeper) start() {
	z.t.Helper()
	z.process = exec.Command(z.java, "-Xmx128m", "-cp", "/usr/share/java/*", "org.apache.zookeeper.server.quorum.QuorumPeerMain", z.config)
	if err := z.process.Start(); err != nil {
		z.t.Fatal(err)
	}
	eventually(z.t, "ZooKeeper serves", func() bool {
		conn, err := net.Dial("tcp", z.addr)
		if err != nil {
			return false
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Second))
		if _, err := conn.Write([]byte("srvr")); err != nil {
			return false
		}
		answer, _ := io.ReadAll(conn)
		return strings.HasPrefix(string(answer), "Zookeeper version")
	})
}

// kill ends the process without a warning.
func (z *zookeeper) kill() {
	if z.process != nil {
		z.process.Process.Kill()
		z.process.Wait() // how it ended is known
		z.process = nil
	}
}

// ZooKeeper's process is killed under a client and a server, and comes back: calls
// go on all the while, and afterwards changes are followed as before.
func TestZooKeeperProcessIsKilled(t *testing.T) {
	z := newZooKeeper(t)
	z.start()
	r := open(t, z.addr, &zkregistry.Options{SessionTimeout: 2 * time.Second})
	announce := func(srv *motan.Server, at string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := srv.Announce(ctx, r, "g", "", motan.Endpoint{Addr: at}); err != nil {
			t.Fatal(err)
		}
	}
	first, at1 := serveWhere(t)
	announce(first, at1)
	c, err := motan.NewClient("com.example.S", r, &motan.ClientOptions{Group: "g", Timeout: patience, SlowStart: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	where := func() string {
		t.Helper()
		s, err := motan.Call[string](t.Context(), c, "where", nil)
		if err != nil {
			t.Fatal(err)
		}
		return *s
	}
	if got := where(); got != at1 {
		t.Fatalf("answered by %s, want %s", got, at1)
	}
	z.kill()
	for range 100 {
		where()
	}
	z.start()
	second, at2 := serveWhere(t)
	announce(second, at2)
	eventually(t, "the second server is found", func() bool { return where() == at2 })
	if err := first.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first one is off the list", func() bool { return len(c.Stats().Endpoints) == 1 })
	if got := where(); got != at2 {
		t.Errorf("answered by %s, want %s", got, at2)
	}
}

// Who watches a service is known while it does.
func TestClientsAreKnown(t *testing.T) {
	addr, g := server(t), group(t)
	raw, _, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogger(noLog{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	r := open(t, addr, &zkregistry.Options{Application: "shop", LocalHost: "10.0.0.3"})
	path := "/motan/" + g + "/com.example.S/client"
	clients := func() string {
		names, _, err := raw.Children(path)
		if err != nil {
			return ""
		}
		return strings.Join(names, " ")
	}
	name := fmt.Sprint("10.0.0.3:", os.Getpid())
	var seen list
	var stops []context.CancelFunc
	for range 2 {
		ctx, stop := context.WithCancel(t.Context())
		if err := r.Watch(ctx, "com.example.S", g, "1.0", seen.update); err != nil {
			t.Fatal(err)
		}
		stops = append(stops, stop)
		eventually(t, "the client is known", func() bool { return clients() == name })
	}
	content, stat, err := raw.Get(path + "/" + name)
	if want := "motan2://10.0.0.3:0/com.example.S?group=" + g + "&application=shop&nodeType=referer&version=1.0"; err != nil || string(content) != want || stat.EphemeralOwner == 0 {
		t.Errorf("the node holds %q, want %q; %v", content, want, err)
	}
	stops[0]()
	if n := clients(); n != name {
		t.Errorf("one of two has gone, and %q is known", n)
	}
	stops[1]()
	eventually(t, "it is not any more", func() bool { return clients() == "" })
	if err := r.Watch(t.Context(), "com.example.S", g, "1.0", seen.update); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is again", func() bool { return clients() == name })
	r.Close()
	eventually(t, "it went with the registry", func() bool { return clients() == "" })
}
