// Mcqd serves durable queues over the memcached text protocol, to any memcached
// client:
//
//	go run ./examples/mcqd -addr 127.0.0.1:22201 -data /var/lib/mcqd
//	printf 'set mail 0 0 5\r\nhello\r\nget mail\r\nquit\r\n' | nc 127.0.0.1 22201
//
// STORED means that the disk has the message (see -sync). SIGTERM and Ctrl-C
// finish the commands under way and stop; a second one stops at once. Exit codes are
// 0 after a clean stop, 1 if something failed and 2 for wrong flags.
//
// -queues names a JSON file of what queues do with their messages, all of them and
// each: limits, age, attempts, dead letters, fan-out; see queues.go.
//
// -admin 127.0.0.1:22202 serves figures over HTTP: /stats as JSON, /metrics for
// Prometheus, /healthz, which is 503 when nothing can be stored. Who calls from the
// same machine, by its loopback address, can have a queue hand out no messages for a
// while, at most until mcqd ends:
//
//	curl -X POST http://127.0.0.1:22202/queues/mail/pause
//	curl -X POST http://127.0.0.1:22202/queues/mail/resume
//
// -check DIR reads a store that no process has open, says what is in it and what is
// damaged, and exits with 1 if anything is.
//
// Passwords are read from the file that -auth names, which is like that of memcached
// -Y: name:password on each line. A client first sets any key to "name password".
// -tls-cert and -tls-key are files of a certificate and its key.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals) // before anybody hears of it: a second one ends the process
		cancel()
	}()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(os.Stderr, "mcqd:", strings.TrimSuffix(line, "\n"))
	}
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintln(os.Stderr, "mcqd -h lists the flags")
		os.Exit(2)
	}
	os.Exit(1)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	c, err := parse(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.check != "" {
		return check(c.check, out)
	}
	return serve(ctx, c, out)
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, c *config, out io.Writer) error {
	users, err := readAuth(c.auth)
	if err != nil {
		return err
	}
	fallback, queues, err := readQueues(c.queues)
	if err != nil {
		return err
	}
	if c.queues == "" {
		fallback = mcq.QueueOptions{MaxLength: c.maxLength, DropOldest: c.dropOldest}
	}
	ln, err := listen(c)
	if err != nil {
		return err
	}
	defer ln.Close()
	if err := os.MkdirAll(filepath.Dir(c.data), 0o755); err != nil {
		return err
	}
	broker, err := mcq.Open(c.data, &mcq.Options{
		Sync: syncs[c.sync], SyncInterval: c.interval, MaxMessage: c.maxMessage, MinFree: cmp.Or(c.minFree, -1),
		Queue: fallback, Queues: queues,
	})
	if errors.Is(err, mcq.ErrLocked) {
		return fmt.Errorf("%s is served already: %w", c.data, err)
	}
	if err != nil {
		return err
	}
	defer broker.Close()
	server, err := mcq.NewServer(broker, &mcq.ServerOptions{
		Users: users, MaxConns: c.maxConns, IdleTimeout: cmp.Or(c.idle, -1), OpenTimeout: c.openTimeout,
		FullIsError: c.fullError, IgnoreExptime: c.ignoreExptime, AllowFlushAll: c.allowFlushAll, RefuseDrop: c.refuseDrop,
	})
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	if c.admin != "" {
		admin, err := startAdmin(c.admin, broker, server, failed)
		if err != nil {
			return err
		}
		defer admin.Close()
		fmt.Fprintf(out, "figures on http://%s/stats\n", admin.Addr)
	}
	go func() { failed <- server.Serve(ln) }()
	fmt.Fprintf(out, "serving %s on %s, -sync %s\n", c.data, ln.Addr(), c.sync)

	select {
	case err = <-failed:
	case <-ctx.Done():
		fmt.Fprintln(out, "stopping")
	}
	return errors.Join(err, drain(server, c.drain), broker.Close())
}

// drain stops the server, and waits so long for the commands under way.
func drain(server *mcq.Server, patience time.Duration) error {
	if patience == 0 {
		return server.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return fmt.Errorf("commands were under way after -drain %v, and their connections cut off: %w", patience, err)
	}
	return nil
}

func listen(c *config) (net.Listener, error) {
	ln, err := net.Listen("tcp", c.addr)
	if err != nil || c.cert == "" {
		return ln, err
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}}), nil
}
