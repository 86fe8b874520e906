// Motan-echo serves and calls com.example.EchoService, in every serialization of
// package motan on one port: something to try other Motan clients and servers
// against.
//
//	go run ./examples/motan-echo -serve 127.0.0.1:8100
//	go run ./examples/motan-echo -call 127.0.0.1:8100 -method hello -arg Ray
//	go run ./examples/motan-echo -call 127.0.0.1:8100 -load -callers 100
//
// With -zk the server announces itself in ZooKeeper, and the client finds it there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/motan/zkregistry"
)

const (
	service = "com.example.EchoService"
	group   = "demo-rpc"
	version = "1.0"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "motan-echo:", err)
		os.Exit(1)
	}
}

type config struct {
	serve, call, zk   string
	method, arg       string
	serialization     string
	load              bool
	callers, size     int
	duration, timeout time.Duration
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c config
	fs := flag.NewFlagSet("motan-echo", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&c.serve, "serve", "", "serve at `HOST:PORT`")
	fs.StringVar(&c.call, "call", "", "call the server at `HOST:PORT`")
	fs.StringVar(&c.zk, "zk", "", "announce or find the server in the ZooKeeper at `HOST:PORT`")
	fs.StringVar(&c.method, "method", "hello", "the `method` to call")
	fs.StringVar(&c.arg, "arg", "", "its argument, `text`; -method says what becomes of it")
	fs.StringVar(&c.serialization, "serialization", "simple", "of calls: "+strings.Join(serializations(), ", "))
	fs.BoolVar(&c.load, "load", false, "call again and again and print figures; without -call and -zk the server is in this process too")
	fs.IntVar(&c.callers, "callers", 100, "`number` of callers at once, for -load")
	fs.IntVar(&c.size, "size", 1024, "`bytes` of the argument, for -load")
	fs.DurationVar(&c.duration, "for", 5*time.Second, "how long, for -load")
	fs.DurationVar(&c.timeout, "timeout", time.Second, "of one call")
	if err := fs.Parse(args); err != nil {
		return err
	}
	switch {
	case fs.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case c.serve != "" && (c.call != "" || c.load):
		return errors.New("-serve goes with neither -call nor -load")
	case c.call != "" && c.zk != "":
		return errors.New("-call and -zk both say where the server is: want one of them")
	case serializers[c.serialization] == nil:
		return fmt.Errorf("-serialization %q: want one of %s", c.serialization, strings.Join(serializations(), ", "))
	case c.callers < 1 || c.size < 0 || c.duration <= 0 || c.timeout <= 0:
		return errors.New("-callers, -for and -timeout must be positive and -size must not be negative")
	case c.serve != "":
		return serve(ctx, &c, stdout)
	case c.call == "" && c.zk == "" && !c.load:
		return errors.New("want -serve, -call, -zk or -load; -h explains them")
	}
	return call(ctx, &c, stdout)
}

// serve answers calls until ctx is done.
func serve(ctx context.Context, c *config, stdout io.Writer) error {
	srv, err := motan.NewServer(nil)
	if err != nil {
		return err
	}
	srv.Register(service, echo{})
	ln, err := net.Listen("tcp", c.serve)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	if c.zk != "" {
		reg, err := openZooKeeper(ctx, c.zk)
		if err != nil {
			return errors.Join(err, srv.Close())
		}
		defer reg.Close()
		if err := srv.Announce(ctx, reg, group, version, motan.Endpoint{Addr: reachable(ln.Addr())}); err != nil {
			return errors.Join(err, srv.Close())
		}
	}
	fmt.Fprintf(stdout, "%s serves at %s\n", service, ln.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// ctx is done: the calls in flight get some time of their own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return srv.Shutdown(ctx)
}

// reachable is where others find a listener: one for all addresses at the first of
// this machine that is no loopback.
func reachable(at net.Addr) string {
	tcp, ok := at.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return at.String()
	}
	host := "127.0.0.1"
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
				host = n.IP.String()
				break
			}
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

func openZooKeeper(ctx context.Context, addr string) (*zkregistry.Registry, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return zkregistry.Open(ctx, []string{addr}, &zkregistry.Options{Application: "motan-echo"})
}
