package hbasestore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Options configures Open. The zero value is ready to use.
type Options struct {
	// Table is the table's name, with its namespace in front if it is in one:
	// "media:objects". Empty means "objstore".
	Table string

	// Salts is how many parts a new table has, 1 to 128; an existing one must
	// have been made with it. A few for each region server are enough. 0 means 16.
	Salts int

	// Conns is the most connections to gateways at a time; calls wait for one. A
	// gateway's own limit is 1,000 by default. 0 means 16.
	Conns int

	// Timeout bounds a call whose context has no deadline, with all that is
	// tried again in it. 0 means 30 s.
	Timeout time.Duration

	// MaxMessage is the largest answer that is read, in bytes. What a call reads
	// in one request is made smaller until its answers fit; one row that does not
	// fit is an error. 0 means 64 MiB, at least 64 KiB.
	MaxMessage int

	// Framed must be true for gateways that run with the option -framed, or as
	// one of the nonblocking servers.
	Framed bool

	// TLS, if not nil, is for connections to gateways behind TLS. Without a
	// ServerName the host of the address is verified.
	TLS *tls.Config
}

var tableName = regexp.MustCompile(`^([a-zA-Z0-9_]+:)?[a-zA-Z0-9_][a-zA-Z0-9_.-]*$`)

func (o *Options) filled() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Table == "" {
		out.Table = "objstore"
	}
	if out.Salts == 0 {
		out.Salts = 16
	}
	if out.Conns == 0 {
		out.Conns = 16
	}
	if out.Timeout == 0 {
		out.Timeout = 30 * time.Second
	}
	if out.MaxMessage == 0 {
		out.MaxMessage = 64 << 20
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("hbasestore: Options."+format, args...))
	}
	if !tableName.MatchString(out.Table) {
		bad("Table %.40q: no name of a table", out.Table)
	}
	if out.Salts < 1 || out.Salts > maxSalts {
		bad("Salts %d: want 1 to %d", out.Salts, maxSalts)
	}
	if out.Conns < 1 {
		bad("Conns %d: want at least 1", out.Conns)
	}
	if out.Timeout < 0 {
		bad("Timeout %v: negative", out.Timeout)
	}
	if out.MaxMessage < 64<<10 || out.MaxMessage > 1<<30 {
		bad("MaxMessage %d: want %d to %d", out.MaxMessage, 64<<10, 1<<30)
	}
	return out, errors.Join(errs...)
}
