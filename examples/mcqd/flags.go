package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// usageError is an error about the flags.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// config is what the flags say.
type config struct {
	addr, data, sync, admin, check, queues, auth, cert, key         string
	interval, idle, drain, openTimeout                              time.Duration
	maxMessage, maxLength, maxConns                                 int
	minFree                                                         int64
	dropOldest, fullError, ignoreExptime, allowFlushAll, refuseDrop bool
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
	flags.StringVar(&c.admin, "admin", "", "address of the figures, pause and resume over HTTP (default: none)")
	flags.StringVar(&c.check, "check", "", "check the store in this directory and exit")
	flags.StringVar(&c.auth, "auth", "", "file of users as of memcached -Y: name:password, one a line, and no others")
	flags.StringVar(&c.cert, "tls-cert", "", "file of the certificate; with -tls-key")
	flags.StringVar(&c.key, "tls-key", "", "file of its key")
	flags.StringVar(&c.queues, "queues", "", "JSON file of limits, dead letters and the like, of all queues and of each")
	flags.IntVar(&c.maxMessage, "max-message", 1<<20, "largest message in bytes, up to 64 MiB")
	flags.IntVar(&c.maxLength, "max-length", 0, "most messages in a queue; 0: no limit")
	flags.BoolVar(&c.dropOldest, "drop-oldest", false, "drop the oldest messages of a full queue instead of refusing new ones")
	flags.Int64Var(&c.minFree, "min-free", 256<<20, "bytes that must be free on the disk for anything to be stored; -1: do not look")
	flags.IntVar(&c.maxConns, "max-conns", 4096, "most connections; further ones are closed at once")
	flags.DurationVar(&c.idle, "idle", 15*time.Minute, "close a connection that sends nothing for so long; 0: never")
	flags.DurationVar(&c.openTimeout, "open-timeout", 10*time.Minute, "how long a message got with /open is kept for its connection")
	flags.DurationVar(&c.drain, "drain", 10*time.Second, "how long to wait for commands under way when stopping; 0: not at all")
	flags.BoolVar(&c.fullError, "full-error", false, "answer SERVER_ERROR instead of NOT_STORED when a queue is full, so that clients try another server")
	flags.BoolVar(&c.ignoreExptime, "ignore-exptime", false, "keep messages for ever whatever their exptime, as memcacheq does")
	flags.BoolVar(&c.allowFlushAll, "allow-flush-all", false, "let flush_all drop every queue")
	flags.BoolVar(&c.refuseDrop, "refuse-drop", false, "refuse to delete or flush a whole queue")
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
	check(c.queues == "" || c.maxLength == 0 && !c.dropOldest, "-max-length and -drop-oldest: with -queues they belong into its default")
	check(c.minFree >= -1, "-min-free %d: want -1, which is not to look, or more", c.minFree)
	check(c.maxConns >= 1, "-max-conns %d: want at least 1", c.maxConns)
	check(c.idle >= 0, "-idle %v: want 0, which is never, or more", c.idle)
	check(c.openTimeout >= time.Second && c.openTimeout <= 12*time.Hour, "-open-timeout %v: want 1s to 12h", c.openTimeout)
	check(!c.allowFlushAll || !c.refuseDrop, "-allow-flush-all and -refuse-drop contradict each other")
	check(c.drain >= 0, "-drain %v: want 0, which is not to wait, or more", c.drain)
	check((c.cert == "") == (c.key == ""), "-tls-cert and -tls-key go together")
	for flag, addr := range map[string]string{"-addr": c.addr, "-admin": c.admin} {
		if _, _, err := net.SplitHostPort(addr); addr != "" || flag == "-addr" {
			check(err == nil, "%s %q: want host:port", flag, addr)
		}
	}
	return errors.Join(errs...)
}
