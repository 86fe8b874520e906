package feed

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// Ready is the line a process prints once its tiers accept connections.
const Ready = "feed: ready"

// Main is the program: it runs the tiers that args name until it is told to
// stop, and returns the exit status.
func Main(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("feed", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var cfg Config
	role := fs.String("role", "all", "which `tier` to run: all, web, service, queue or processor")
	fs.StringVar(&cfg.Data, "data", "", "`directory` for the data; default a fresh temporary one")
	fs.StringVar(&cfg.Web, "web", "127.0.0.1:8080", "`address` of the web tier (HTTP)")
	services := fs.String("service", "127.0.0.1:8101,127.0.0.1:8102", "`addresses` of the service tier (Motan2), by node")
	fs.IntVar(&cfg.Node, "node", 0, "which of the -service addresses this process is, from 0")
	fs.StringVar(&cfg.Queue, "queue", "127.0.0.1:22201", "`address` of the queue tier (memcached protocol)")
	fs.StringVar(&cfg.Processor, "processor", "127.0.0.1:8201", "`address` of the processor's store service (Motan2)")
	fs.StringVar(&cfg.DB, "db", "", "`address` of the database, mysql://user:password@host:port/database; default Pebble in the data directory")
	fs.StringVar(&cfg.Admin, "admin", "", "loopback `address` of the console (traces, figures, switches); default none, with -role all 127.0.0.1:8081")
	fs.DurationVar(&cfg.Lease, "lease", 0, "how long the processor may hold a batch (default 5s)")
	gc := fs.Int("gogc", 400, "garbage collection `percent`; higher trades memory for processor time")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "feed: unexpected argument %q\n", fs.Arg(0))
		return 2
	}
	cfg.Services = strings.Split(*services, ",")
	adminSet := false
	fs.Visit(func(f *flag.Flag) { adminSet = adminSet || f.Name == "admin" })
	if *role == "all" && !adminSet {
		cfg.Admin = "127.0.0.1:8081"
	}
	debug.SetGCPercent(*gc)
	fresh := ""
	if cfg.Data == "" {
		dir, err := os.MkdirTemp("", "heddle-feed-")
		if err != nil {
			fmt.Fprintln(stderr, "feed: -data:", err)
			return 1
		}
		cfg.Data, fresh = dir, dir
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f, err := Start(*role, cfg)
	if err != nil {
		fmt.Fprintln(stderr, err)
		if fresh != "" { // there is nothing in it yet that somebody wants
			_ = os.RemoveAll(fresh)
		}
		if _, ok := errors.AsType[usageError](err); ok {
			return 2
		}
		return 1
	}
	fmt.Fprintf(stdout, "%s role=%s data=%s\n", Ready, *role, cfg.Data)
	if *role == "all" {
		if err := welcome(stdout, cfg); err != nil {
			fmt.Fprintln(stderr, err)
		}
	}
	status := 0
	if err := f.Wait(ctx); err != nil {
		fmt.Fprintln(stderr, err)
		status = 1
	}
	stop() // a second Ctrl-C ends the process at once
	fmt.Fprintln(stdout, "feed: stopping")
	if err := f.Stop(); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintln(stdout, "feed: stopped")
	return status
}

// demoUser is whose token the welcome text carries.
const demoUser = 1000

// welcome says where everything is and how to try it.
func welcome(w io.Writer, cfg Config) error {
	tokens, err := LoadTokens(cfg.SecretFile())
	if err != nil {
		return err
	}
	token := tokens.Issue(demoUser, time.Now().Add(24*time.Hour))
	url := "http://" + cfg.Web
	_, err = fmt.Fprintf(w, `
  data      %s
  web       %s
  console   http://%s
  services  %s
  queue     %s (any memcached client: echo 'stats queue' | nc %s)
  log       %s

Try it:

  curl -s %s/2/statuses/update.json -d access_token=%s -d 'status=Happy New Year!'
  curl -s '%s/2/statuses/user_timeline.json?uid=%d&count=5&access_token=%s'
  curl -s '%s/2/account/rate_limit_status.json?access_token=%s'

Ctrl-C stops it.
`,
		cfg.Data, url, cfg.Admin, strings.Join(cfg.Services, " "), cfg.Queue, strings.Replace(cfg.Queue, ":", " ", 1),
		filepath.Join(cfg.Data, RoleWeb, "access.log"),
		url, token, url, demoUser, token, url, token)
	return err
}
