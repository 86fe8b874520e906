package feed

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"
)

// The tiers, as named by the -role flag.
const (
	RoleWeb       = "web"
	RoleService   = "service"
	RoleQueue     = "queue"
	RoleProcessor = "processor"
)

// queueName is the queue that carries new statuses to the processor.
const queueName = "statuses"

// Config says where the tiers listen and where their data lives. Every tier
// gets the same Config; a tier alone uses the others' addresses to reach them.
type Config struct {
	Data      string   // directory; each tier keeps its files in a sub-directory of its own
	Web       string   // HTTP address of the web tier
	Services  []string // Motan2 addresses of the service tier; the index is the node number
	Queue     string   // memcached-protocol address of the queue tier
	Processor string   // Motan2 address of the processor, which owns the database
	DB        string   // mysql://user:password@host:port/database; empty: Pebble in Data
	Admin     string   // HTTP address of this process's console; empty: none
	Node      int      // which of Services this process is; used by the service role only

	// Lease is how long the processor may hold a batch before the queue hands it
	// out again. 0 means 5 s. A killed processor delays its batch by this much.
	Lease time.Duration
}

// maxNodes is what the object id's IDC field can tell apart.
const maxNodes = 16

func (c Config) withDefaults() Config {
	if c.Lease == 0 {
		c.Lease = 5 * time.Second
	}
	return c
}

// Validate reports everything wrong with c at once.
func (c Config) Validate() error {
	var errs []error
	if c.Data == "" {
		errs = append(errs, errors.New("feed: -data: no directory given"))
	}
	addr := func(flag, a string) {
		_, port, err := net.SplitHostPort(a)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("feed: %s: %q is not host:port", flag, a))
		}
	}
	addr("-web", c.Web)
	addr("-queue", c.Queue)
	addr("-processor", c.Processor)
	if c.DB != "" {
		if _, err := parseMySQL(c.DB); err != nil {
			errs = append(errs, err)
		}
	}
	if c.Admin != "" {
		addr("-admin", c.Admin)
	}
	if n := len(c.Services); n == 0 || n > maxNodes {
		errs = append(errs, fmt.Errorf("feed: -service: %d addresses, want 1 to %d", n, maxNodes))
	}
	for _, a := range c.Services {
		addr("-service", a)
	}
	if c.Node < 0 || c.Node >= len(c.Services) {
		errs = append(errs, fmt.Errorf("feed: -node %d: -service has nodes 0 to %d", c.Node, len(c.Services)-1))
	}
	return errors.Join(errs...)
}

// SecretFile is where the token secret lives.
func (c Config) SecretFile() string { return filepath.Join(c.Data, "secret") }
