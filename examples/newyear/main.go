//go:build unix

// Newyear replays the first minute of 2014: it starts the feed of
// examples/feed as five processes, posts 808,298 statuses over HTTP, kills
// three of the processes on the way, and checks that every acknowledged post
// is in the timelines exactly once with its text intact.
//
//	go run ./examples/newyear                 # the whole minute
//	go run ./examples/newyear -posts 20000    # a few seconds
//
// It ends with one line starting with "result" and exits 1 if anything was
// lost, doubled or cannot be traced. Percentiles on that line leave out the
// posts that a kill overlapped; the lines above it give them too. It needs a
// Unix: the processes end by signals.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/heddle-go/heddle/examples/internal/feed"
)

// options are the flags.
type options struct {
	posts   int
	clients int
	data    string
	keep    bool
}

func main() {
	// The feed's processes are this very program under another first argument,
	// so that `go run` needs to build only one.
	if len(os.Args) > 1 && os.Args[1] == feedArg {
		os.Exit(feed.Main(os.Args[2:], os.Stdout, os.Stderr))
	}
	var o options
	flag.IntVar(&o.posts, "posts", 808298, "how many statuses to post")
	flag.IntVar(&o.clients, "clients", 256, "how many HTTP connections post at once")
	flag.StringVar(&o.data, "data", "", "`directory` for the data; default a fresh temporary one, removed at the end")
	flag.BoolVar(&o.keep, "keep", false, "keep the temporary directory")
	flag.Parse()
	if err := o.validate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	debug.SetGCPercent(400)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "newyear:", err)
		os.Exit(1)
	}
}

func (o options) validate() error {
	var errs []error
	if o.posts < 100 {
		errs = append(errs, fmt.Errorf("newyear: -posts %d: want at least 100, so that there is something to kill", o.posts))
	}
	if o.posts > 100_000_000 {
		errs = append(errs, fmt.Errorf("newyear: -posts %d: want at most 100000000", o.posts))
	}
	if o.clients < 1 || o.clients > 4096 {
		errs = append(errs, fmt.Errorf("newyear: -clients %d: want 1 to 4096", o.clients))
	}
	if flag.NArg() > 0 {
		errs = append(errs, fmt.Errorf("newyear: unexpected argument %q", flag.Arg(0)))
	}
	return errors.Join(errs...)
}

// run is the whole job; it returns an error if the result is not clean.
func run(ctx context.Context, o options) (err error) {
	if o.data == "" {
		if o.data, err = os.MkdirTemp("", "heddle-newyear-"); err != nil {
			return err
		}
		if !o.keep {
			defer func() {
				if err == nil || ctx.Err() != nil { // after a failure the logs are wanted
					os.RemoveAll(o.data)
				} else {
					fmt.Fprintln(os.Stderr, "newyear: logs and data are in", o.data)
				}
			}()
		}
	}
	if err := os.MkdirAll(o.data, 0o755); err != nil {
		return err
	}
	fmt.Printf("newyear: %d posts from %d connections, data in %s\n", o.posts, o.clients, o.data)

	f, err := startFleet(ctx, o.data)
	if err != nil {
		return err
	}
	defer f.stop()
	tokens, err := feed.LoadTokens(f.cfg.SecretFile())
	if err != nil {
		return err
	}
	j, err := newJob(o, f, tokens)
	if err != nil {
		return err
	}
	if err := j.post(ctx); err != nil {
		return err
	}
	if err := j.drain(ctx); err != nil {
		return err
	}
	usage := f.usage()
	check, err := j.verify(ctx)
	if err != nil {
		return err
	}
	complete, err := j.printTrace(ctx)
	if err != nil {
		return err
	}
	return j.report(check, complete, usage)
}
