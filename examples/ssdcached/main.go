// Ssdcached is a node of a cache on SSD: it serves one ssdcache over the
// memcached text protocol, to any memcached client, and to twemproxy or mcrouter.
//
//	go run ./examples/ssdcached -addr 127.0.0.1:11211 -data /var/cache/node1 -size 64GiB
//
// It knows get, gets, gat, gats, set, add, replace, append, prepend, cas, delete,
// touch, incr, decr, flush_all, stats, version, verbosity, quit and the meta
// commands mg, ms, md, ma, mn and me. What was set is there after a restart, also
// after SIGKILL except for the newest. The keys of one get may take 64 KiB, other
// lines 8 KiB. There is no authentication and no TLS:
// keep it on loopback or a network of its own.
//
// Several of them make a ring: ssdcache/memcachedtier spreads the keys over its
// servers by ketama placement and goes on without one that is gone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/heddle-go/heddle/ssdcache"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	spread()
	if err := run(ctx, os.Args[1:], os.Stdout, nil); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "ssdcached:", err)
		os.Exit(1)
	}
}

// spread gives the scheduler three places a processor: a read that waits for the
// disk holds one for a while, and with one a processor nobody else would work
// meanwhile. The variable GOMAXPROCS goes before.
func spread() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(3 * runtime.GOMAXPROCS(0))
	}
}

// run serves until ctx ends. ready, if not nil, is told the address.
func run(ctx context.Context, args []string, out io.Writer, ready func(net.Addr)) error {
	flags := flag.NewFlagSet("ssdcached", flag.ContinueOnError)
	flags.SetOutput(out)
	addr := flags.String("addr", "127.0.0.1:11211", "address to listen on")
	data := flags.String("data", "", "directory of the cache file (default: a fresh temporary one)")
	size := bytesFlag(1 << 30)
	flags.Var(&size, "size", "size of the cache file, like 512MiB or 64GiB")
	direct := flags.Bool("direct", false, "read and write around the page cache")
	rejectFirst := flags.Bool("reject-first", false, "write a key only when it is set for the second time")
	var budget bytesFlag
	flags.Var(&budget, "budget", "bytes to write a day at most, like 2TiB (default: no bound)")
	full := flags.String("full", "block", "when sets outrun the disk: block, drop or fail")
	conns := flags.Int("conns", 4096, "connections at a time")
	idle := flags.Duration("idle", 15*time.Minute, "close a connection that sends nothing for so long; 0: never")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q: there are none besides flags", flags.Arg(0))
	}
	policy, ok := map[string]ssdcache.Full{"block": ssdcache.Block, "drop": ssdcache.Drop, "fail": ssdcache.Fail}[*full]
	if !ok {
		return fmt.Errorf("-full %q: want block, drop or fail", *full)
	}
	if *conns < 1 || *idle < 0 {
		return fmt.Errorf("-conns %d, -idle %v: want at least 1, and none below 0", *conns, *idle)
	}
	dir := *data
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "ssdcached"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	opts := &ssdcache.Options{Full: policy, Direct: *direct, WriteBudget: int64(budget)}
	if *rejectFirst {
		opts.Admission = ssdcache.RejectFirst
	}
	cache, err := ssdcache.Open(filepath.Join(dir, "cache"), int64(size), opts)
	if err != nil {
		return err
	}
	st, err := newStore(cache, filepath.Join(dir, "flushed"))
	if err != nil {
		return errors.Join(err, cache.Close())
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		return errors.Join(err, cache.Close())
	}
	srv := newServer(st, *conns, *idle)
	fmt.Fprintf(out, "ssdcached on %s, %d items found in %s\n", ln.Addr(), cache.Stats().Found, dir)
	if ready != nil {
		ready(ln.Addr())
	}
	stop := context.AfterFunc(ctx, srv.stop)
	defer stop()
	err = srv.serve(ln)
	srv.stop()
	srv.wait()
	slog.Info("ssdcached: closing the cache")
	return errors.Join(err, cache.Close())
}

// bytesFlag is a number of bytes with an optional unit.
type bytesFlag int64

var byteUnits = [...]string{"KiB", "MiB", "GiB", "TiB"}

// String is the number in the largest unit that leaves nothing over.
func (b *bytesFlag) String() string {
	n, unit := int64(*b), ""
	for _, name := range byteUnits {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, name
	}
	return strconv.FormatInt(n, 10) + unit
}

func (b *bytesFlag) Set(s string) error {
	unit := int64(1)
	for i, name := range byteUnits {
		if rest, ok := strings.CutSuffix(s, name); ok {
			s, unit = rest, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return fmt.Errorf("%q: want a number of bytes, KiB, MiB, GiB or TiB", s)
	}
	*b = bytesFlag(n * unit)
	return nil
}
