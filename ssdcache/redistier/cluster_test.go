package redistier_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/heddle-go/heddle/ssdcache"
	"github.com/heddle-go/heddle/ssdcache/redistier"
	"github.com/heddle-go/heddle/ssdcache/tiertest"
)

// cluster starts three masters that share the slots and returns their addresses
// and processes.
func cluster(t *testing.T) (addrs []string, masters []*exec.Cmd) {
	t.Helper()
	server, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed; Debian has it in the package of this name")
	}
	ctx := t.Context()
	var nodes []*redis.Client
	for range 3 {
		addr, cmd, node := master(t, server)
		addrs, masters, nodes = append(addrs, addr), append(masters, cmd), append(nodes, node)
	}
	host, port, _ := strings.Cut(addrs[0], ":")
	for i, node := range nodes {
		const slots = 16384
		if err := node.ClusterAddSlotsRange(ctx, i*slots/3, (i+1)*slots/3-1).Err(); err != nil {
			t.Fatal(err)
		}
		if err := node.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := node.ClusterMeet(ctx, host, port).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, node := range nodes {
		eventually(t, addrs[i]+" knows of all slots", func() bool {
			info := node.ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_assigned:16384") &&
				strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	return addrs, masters
}

// master starts a node of a cluster. Nodes talk over a second port, 10000 above
// the first; both are below those that systems give to outgoing connections.
func master(t *testing.T, server string) (addr string, cmd *exec.Cmd, node *redis.Client) {
	t.Helper()
	for range 20 { // until one finds both ports free
		port := 20000 + rand.IntN(2000)
		addr, dir := fmt.Sprint("127.0.0.1:", port), t.TempDir()
		cmd := exec.Command(server, "--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--cluster-enabled", "yes",
			"--cluster-config-file", filepath.Join(dir, "nodes"), "--cluster-node-timeout", "2000",
			"--cluster-require-full-coverage", "no", "--save", "", "--appendonly", "no", "--dir", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-ended
		})
		node := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = node.Close() })
		up := false
		eventually(t, addr+" answers or has ended", func() bool {
			select {
			case <-ended:
				return true
			default:
			}
			// Another server could be on the port.
			got, err := node.Do(t.Context(), "CONFIG", "GET", "dir").Result()
			up = err == nil && strings.Contains(fmt.Sprint(got), dir)
			return up
		})
		if up {
			return addr, cmd, node
		}
	}
	t.Fatal("no two free ports")
	return "", nil, nil
}

// process is what one process has: a disk of its own over the shared tier.
func process(t *testing.T, tier ssdcache.Tier) *ssdcache.Tiered[string] {
	t.Helper()
	c, err := ssdcache.Open(filepath.Join(t.TempDir(), "cache"), 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	x, err := ssdcache.NewTiered(c, func(_ context.Context, key string) (string, error) { return "value of " + key, nil },
		&ssdcache.TieredOptions{Name: "lost", Tier: tier})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 60 s: %s", what)
		}
	}
}

func TestCluster(t *testing.T) {
	addrs, masters := cluster(t)
	newTier := func(t *testing.T, o *redistier.Options) ssdcache.Tier {
		tier, err := redistier.New(&redis.UniversalOptions{Addrs: addrs}, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tier.Close() })
		return tier
	}
	slotsAgree(t, addrs[0])
	tiertest.Run(t, func(t *testing.T) ssdcache.Tier { return newTier(t, &patient) })

	// With one master gone its keys are loaded without the tier, and the others
	// still come from it.
	t.Run("MasterLost", func(t *testing.T) {
		const keys = 60
		o := &redistier.Options{Timeout: 500 * time.Millisecond, Failures: 3, Pause: 10 * time.Millisecond}
		filled := process(t, newTier(t, &patient))
		get := func(x *ssdcache.Tiered[string]) {
			t.Helper()
			for i := range keys {
				k := fmt.Sprint("key-", i)
				if v, err := x.Get(t.Context(), k); v != "value of "+k || err != nil {
					t.Fatalf("%s: %q, %v", k, v, err)
				}
			}
		}
		get(filled)
		if s := filled.Stats(); s.Loads != keys || s.TierErrors != 0 {
			t.Fatalf("%+v", s)
		}
		if err := masters[1].Process.Kill(); err != nil {
			t.Fatal(err)
		}
		// A process with nothing of its own: a third of the keys it has to load.
		eventually(t, "the others are still asked", func() bool {
			x := process(t, newTier(t, o))
			get(x)
			s := x.Stats()
			if s.TierErrors == 0 || s.Loads == 0 || s.Loads+s.TierHits != keys {
				t.Fatalf("nothing missed the lost master: %+v", s)
			}
			return s.TierHits > keys/3
		})
		get(filled) // from memory and disk
	})
}

// slotsAgree compares where we and the server think that keys belong.
func slotsAgree(t *testing.T, addr string) {
	node := redis.NewClient(&redis.Options{Addr: addr})
	defer node.Close()
	for _, key := range []string{"", "a", "ssdcache:users:7", "{user}:a", "a{b}{c}", "a{}b", "{}{b}", "a{b", "a}b{c}", "\x00\xff日本"} {
		want, err := node.ClusterKeySlot(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if got := redistier.Slot(key); int64(got) != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
}
