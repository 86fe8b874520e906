package motan

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// HA is what a client does when a call fails or is slow.
type HA int

const (
	// Failover tries other endpoints where that is safe.
	Failover HA = iota
	// Failfast reports the first failure.
	Failfast
	// Backup is Failover that also sends a call of an idempotent method a second
	// time, to another endpoint, once it has taken longer than BackupAfter or than
	// nine of ten such calls; the first answer counts. At most 15 of 100 calls get
	// such a second chance.
	Backup
)

// ClientOptions configures NewClient. The zero value is ready to use.
type ClientOptions struct {
	Group       string // the service's group; "" means "default_rpc"
	Version     string // the service's version; "" means "1.0"
	Application string // who calls; "" sends nothing
	Token       string // proves it to a server that has Tokens; "" sends nothing

	Serializer Serializer // nil means Simple{}
	HA         HA         // default Failover
	Balance    Balance    // default RoundRobin, of an MC ConsistentHash

	// Retries is how many more tries Failover and Backup make. 0 means 1;
	// negative none.
	Retries int

	// RetryBudget is how many tries may be further ones, as a share of all calls
	// over time; there is a reserve of 1000 for bursts. It keeps retries from
	// multiplying the load of nodes that are down because of it. 0 means 0.2;
	// negative sets no bound.
	RetryBudget float64

	// Idempotent names the methods that may be executed twice. Others are tried
	// again only if the request was certainly not executed.
	Idempotent []string

	// Timeout bounds a call with all its tries if ctx has no earlier deadline.
	// 0 means 1 s.
	Timeout time.Duration

	// TryTimeout bounds one try of an idempotent method while there are retries
	// left, so that a node that hangs does not use up the time of the call: more
	// than such a call ever takes, less than half of Timeout. 0 sets no bound.
	TryTimeout time.Duration

	// BackupAfter is how long Backup waits before it asks a second endpoint.
	// 0 means the 90th percentile as measured, and 10 ms at least.
	BackupAfter time.Duration

	// WeightRefresh is how often a client whose Balance heeds weights asks the
	// endpoints which one they want (Server.SetWeight, and META_WEIGHT of other Motan
	// servers). 0 means 3 s; negative never: the weights of the registry count.
	WeightRefresh time.Duration

	// SlowStart is how long an endpoint that comes to a running client works up to
	// its full share of the calls, or of the keys with ConsistentHash. 0 means 10 s;
	// negative none.
	SlowStart time.Duration

	// Connections per endpoint. 0 means 2, at most 64.
	Connections int

	// Heartbeat is how often a connection whose calls get no answers is asked for
	// a sign of life; it is given up after three without one. An idle connection
	// is asked every thirty. 0 means 1 s; negative asks nothing.
	Heartbeat time.Duration

	// MaxFrame bounds the metadata and the body of a frame, in bytes each; a gzip
	// body may inflate to as much. 0 means 10 MiB.
	MaxFrame int

	// GzipOver is the size in bytes over which request bodies are compressed.
	// 0 compresses none.
	GzipOver int

	TLS *tls.Config // nil: no TLS

	// Interceptors wrap each call, the first one outermost.
	Interceptors []Interceptor

	Watchman *watchman.Watchman // nil: nothing is watched
}

func (o *ClientOptions) filled() (ClientOptions, error) {
	var out ClientOptions
	if o != nil {
		out = *o
	}
	if out.Group == "" {
		out.Group = "default_rpc"
	}
	if out.Version == "" {
		out.Version = "1.0"
	}
	if out.Serializer == nil {
		out.Serializer = Simple{}
	}
	if out.Retries == 0 {
		out.Retries = 1
	}
	if out.RetryBudget == 0 {
		out.RetryBudget = 0.2
	}
	if out.Timeout == 0 {
		out.Timeout = time.Second
	}
	if out.WeightRefresh == 0 {
		out.WeightRefresh = 3 * time.Second
	}
	if out.SlowStart == 0 {
		out.SlowStart = 10 * time.Second
	}
	if out.Connections == 0 {
		out.Connections = 2
	}
	if out.Heartbeat == 0 {
		out.Heartbeat = time.Second
	}
	if out.Balance == 0 {
		out.Balance = RoundRobin
	}
	if out.MaxFrame == 0 {
		out.MaxFrame = 10 << 20
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("motan: ClientOptions."+format, args...))
	}
	if out.HA < Failover || out.HA > Backup {
		bad("HA %d: unknown", out.HA)
	}
	if out.Balance < RoundRobin || out.Balance > LocalFirst {
		bad("Balance %d: unknown", out.Balance)
	}
	if out.Serializer.ID() > 31 {
		bad("Serializer: its ID is %d, want at most 31", out.Serializer.ID())
	}
	if out.Timeout < 0 {
		bad("Timeout %v: negative", out.Timeout)
	}
	if out.TryTimeout < 0 {
		bad("TryTimeout %v: negative", out.TryTimeout)
	}
	if out.BackupAfter < 0 {
		bad("BackupAfter %v: negative", out.BackupAfter)
	}
	if out.Connections < 1 || out.Connections > 64 {
		bad("Connections %d: want 1 to 64", out.Connections)
	}
	if out.MaxFrame < 0 {
		bad("MaxFrame %d: negative", out.MaxFrame)
	}
	if out.GzipOver < 0 {
		bad("GzipOver %d: negative", out.GzipOver)
	}
	for _, f := range [...]struct{ name, value string }{
		{"Group", out.Group}, {"Version", out.Version}, {"Application", out.Application},
	} {
		if strings.ContainsRune(f.value, '\n') {
			bad("%s %q: contains a line feed", f.name, f.value)
		}
	}
	if strings.ContainsRune(out.Token, '\n') {
		bad("Token: contains a line feed")
	}
	out.Idempotent = slices.Clone(out.Idempotent)
	out.Interceptors = slices.Clone(out.Interceptors)
	errs = append(errs, noNils("ClientOptions", out.Interceptors))
	return out, errors.Join(errs...)
}
