// Mcqd serves durable queues over the memcached text protocol, to any memcached
// client:
//
//	go run ./examples/mcqd -addr 127.0.0.1:22201 -data /var/lib/mcqd
//	printf 'set mail 0 0 5\r\nhello\r\nget mail\r\nquit\r\n' | nc 127.0.0.1 22201
//
// STORED means that the disk has the message (see -sync). SIGTERM and Ctrl-C
// finish the commands under way and stop; a second one stops at once. -admin serves
// figures over HTTP: /stats as JSON, /metrics for Prometheus, /healthz, which is 503 when
// nothing can be stored. -check DIR reads a store that no process has open, says what
// is in it and what is damaged, and exits with 1 if anything is. Exit codes are 0 after a clean stop, 1 if something failed and
// 2 for wrong flags.
//
// Passwords are read from the file that -users names, one "name password" a
// line; -tls-cert and -tls-key are files of a certificate and its key.
package main

import (
	"bufio"
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

// usageError is an error about the flags.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// config is what the flags say.
type config struct {
	addr, data, sync, admin, check, users, cert, key string
	interval, idle, drain                            time.Duration
	maxMessage, maxLength                            int
	minFree                                          int64
	dropOldest                                       bool
}

// syncs are the values of -sync.
var syncs = map[string]mcq.Sync{"always": mcq.Always, "interval": mcq.Interval, "none": mcq.Never}

// parse reads the flags; flag.ErrHelp means that help was asked for, and given to out.
func parse(args []string, out io.Writer) (*config, error) {
	c := &config{}
	flags := flag.NewFlagSet("mcqd", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main says what is wrong
	flags.StringVar(&c.addr, "addr", "127.0.0.1:22201", "address to listen on")
	flags.StringVar(&c.data, "data", "", "directory of the store (default: mcqd in the working directory)")
	flags.StringVar(&c.sync, "sync", "always", "when STORED is on disk: always, interval or none; with these a crash of the machine, but not kill -9, loses the last ones")
	flags.DurationVar(&c.interval, "interval", 100*time.Millisecond, "of -sync interval: how much a crash of the machine may lose")
	flags.StringVar(&c.admin, "admin", "", "address of the figures over HTTP (default: none)")
	flags.StringVar(&c.check, "check", "", "check the store in this directory and exit")
	flags.StringVar(&c.users, "users", "", "file of users: name, space, password, one a line")
	flags.StringVar(&c.cert, "tls-cert", "", "file of the certificate; with -tls-key")
	flags.StringVar(&c.key, "tls-key", "", "file of its key")
	flags.IntVar(&c.maxMessage, "max-message", 1<<20, "largest message in bytes, up to 64 MiB")
	flags.IntVar(&c.maxLength, "max-length", 0, "most messages in a queue; 0: no limit")
	flags.Int64Var(&c.minFree, "min-free", 256<<20, "bytes that must be free on the disk for anything to be stored; -1: do not look")
	flags.BoolVar(&c.dropOldest, "drop-oldest", false, "drop the oldest messages of a full queue instead of refusing new ones")
	flags.DurationVar(&c.idle, "idle", 15*time.Minute, "close a connection that sends nothing for so long; 0: never")
	flags.DurationVar(&c.drain, "drain", 10*time.Second, "how long to wait for commands under way when stopping; 0: not at all")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(out)
		fmt.Fprintln(out, "mcqd serves durable queues over the memcached text protocol.")
		flags.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, usageError{err}
	}
	if c.data == "" {
		c.data = "mcqd"
	}
	if err := c.validate(flags.Args()); err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// validate says all that is wrong with the flags; rest is what stands behind them.
func (c *config) validate(rest []string) error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if len(rest) > 0 {
		check(false, "argument %q: there are none besides flags", rest[0])
	}
	_, ok := syncs[c.sync]
	check(ok, "-sync %q: want always, interval or none", c.sync)
	check(c.interval >= time.Millisecond && c.interval <= time.Hour, "-interval %v: want 1ms to 1h", c.interval)
	check(c.maxMessage >= 1 && c.maxMessage <= 64<<20, "-max-message %d: want 1 to %d", c.maxMessage, 64<<20)
	check(c.maxLength >= 0, "-max-length %d: want 0, which is no limit, or more", c.maxLength)
	check(!c.dropOldest || c.maxLength != 0, "-drop-oldest: needs -max-length, or no queue is ever full")
	check(c.idle >= 0, "-idle %v: want 0, which is never, or more", c.idle)
	check(c.drain >= 0, "-drain %v: want 0, which is not to wait, or more", c.drain)
	check((c.cert == "") == (c.key == ""), "-tls-cert and -tls-key go together")
	for flag, addr := range map[string]string{"-addr": c.addr, "-admin": c.admin} {
		if _, _, err := net.SplitHostPort(addr); addr != "" || flag == "-addr" {
			check(err == nil, "%s %q: want host:port", flag, addr)
		}
	}
	return errors.Join(errs...)
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
	users, err := readUsers(c.users)
	if err != nil {
		return err
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
		Sync: syncs[c.sync], SyncInterval: c.interval, MaxMessage: c.maxMessage, MinFree: c.minFree,
		Queue: mcq.QueueOptions{MaxLength: c.maxLength, DropOldest: c.dropOldest},
	})
	if errors.Is(err, mcq.ErrLocked) {
		return fmt.Errorf("%s is served already: %w", c.data, err)
	}
	if err != nil {
		return err
	}
	defer broker.Close()
	server, err := mcq.NewServer(broker, &mcq.ServerOptions{Users: users, IdleTimeout: cmp.Or(c.idle, -1)})
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

// readUsers reads names and passwords; no file means no users.
func readUsers(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	users := make(map[string]string)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, password, ok := strings.Cut(line, " ")
		if !ok || password == "" {
			return nil, fmt.Errorf("%s, line %d: want a name, a space and a password", path, n)
		}
		users[name] = password
	}
	if len(users) == 0 && lines.Err() == nil {
		return nil, fmt.Errorf("%s: there are no users in it", path)
	}
	return users, lines.Err()
}

// check reads a store and says what is in it.
func check(dir string, out io.Writer) error {
	r, err := mcq.Check(dir, nil)
	if err != nil {
		return err
	}
	for _, q := range r.Queues {
		fmt.Fprintf(out, "queue %s: put %d, done %d, backlog %d\n", q.Name, q.Put, q.Done, q.Put-q.Done)
	}
	fmt.Fprintf(out, "%d messages of %d bytes in %d queues\n", r.Messages, r.Bytes, len(r.Queues))
	for _, d := range r.Damage {
		fmt.Fprintln(out, "damage:", d)
	}
	if len(r.Damage) > 0 {
		return fmt.Errorf("%s is damaged", dir)
	}
	return nil
}
