// Mcqd serves durable queues over the memcached text protocol, to any memcached
// client:
//
//	go run ./examples/mcqd -addr 127.0.0.1:22201 -data /var/lib/mcqd
//	printf 'set mail 0 0 5\r\nhello\r\nget mail\r\nquit\r\n' | nc 127.0.0.1 22201
//
// STORED means that the disk has the message (see -sync). SIGTERM and Ctrl-C
// finish the commands under way and stop. -admin serves figures over HTTP:
// /stats as JSON, /metrics for Prometheus, /healthz. -check DIR reads a store that
// no process has open, says what is in it and what is damaged, and exits with 1
// if anything is.
//
// Passwords are read from the file that -users names, one "name password" a
// line; -tls-cert and -tls-key are files of a certificate and its key.
package main

import (
	"bufio"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mcqd:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	addr, data, sync, admin, check, users, cert, key string
	interval, idle, drain                            time.Duration
	maxMessage, maxLength                            int
	dropOldest                                       bool
}

func parse(args []string, out io.Writer) (*config, error) {
	c := &config{}
	flags := flag.NewFlagSet("mcqd", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&c.addr, "addr", "127.0.0.1:22201", "address to listen on")
	flags.StringVar(&c.data, "data", "", "directory of the store (default: mcqd in the working directory)")
	flags.StringVar(&c.sync, "sync", "always", "when STORED is on disk: always, interval or none")
	flags.DurationVar(&c.interval, "interval", 100*time.Millisecond, "of -sync interval")
	flags.StringVar(&c.admin, "admin", "", "address of the figures over HTTP (default: none)")
	flags.StringVar(&c.check, "check", "", "check the store in this directory and exit")
	flags.StringVar(&c.users, "users", "", "file of users: name, space, password, one a line")
	flags.StringVar(&c.cert, "tls-cert", "", "file of the certificate; with -tls-key")
	flags.StringVar(&c.key, "tls-key", "", "file of its key")
	flags.IntVar(&c.maxMessage, "max-message", 1<<20, "largest message in bytes")
	flags.IntVar(&c.maxLength, "max-length", 0, "most messages in a queue; 0: no limit")
	flags.BoolVar(&c.dropOldest, "drop-oldest", false, "drop the oldest messages of a full queue instead of refusing new ones")
	flags.DurationVar(&c.idle, "idle", 15*time.Minute, "close a connection that sends nothing for so long")
	flags.DurationVar(&c.drain, "drain", 10*time.Second, "how long to wait for commands under way when stopping")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("argument %q: there are none besides flags", flags.Arg(0))
	}
	if c.data == "" {
		c.data = "mcqd"
	}
	if (c.cert == "") != (c.key == "") {
		return nil, errors.New("-tls-cert and -tls-key go together")
	}
	return c, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	c, err := parse(args, out)
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
	sync, ok := map[string]mcq.Sync{"always": mcq.Always, "interval": mcq.Interval, "none": mcq.Never}[c.sync]
	if !ok {
		return fmt.Errorf("-sync %q: want always, interval or none", c.sync)
	}
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
		Sync: sync, SyncInterval: c.interval, MaxMessage: c.maxMessage,
		Queue: mcq.QueueOptions{MaxLength: c.maxLength, DropOldest: c.dropOldest},
	})
	if errors.Is(err, mcq.ErrLocked) {
		return fmt.Errorf("%s is served already: %w", c.data, err)
	}
	if err != nil {
		return err
	}
	defer broker.Close()
	server, err := mcq.NewServer(broker, &mcq.ServerOptions{Users: users, IdleTimeout: c.idle})
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
	drain, cancel := context.WithTimeout(context.Background(), c.drain)
	defer cancel()
	if e := server.Shutdown(drain); e != nil {
		err = errors.Join(err, fmt.Errorf("connections were cut off: %w", e))
	}
	return errors.Join(err, broker.Close())
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
