package webv4

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Options configures New. The zero value is ready to use.
type Options struct {
	// Authenticator tells who calls. Interfaces with auth:"user" need one.
	Authenticator Authenticator

	// Quotas count for every interface besides its own, in the form of the
	// quota tag: "ip=10000/h". An interface with quota:"none" is exempt. Those on
	// users and applications need an Authenticator, and count the calls of
	// interfaces with auth.
	Quotas string

	// QuotaStore counts for all processes together. nil: each for itself.
	QuotaStore QuotaStore

	// QuotaTimeout is how long the store may take. 0 means 5 ms. After five calls in a
	// row that it failed it is asked once every 100 ms, and counts as failed for the
	// others, until it answers.
	QuotaTimeout time.Duration

	// QuotaFailClosed refuses calls (10002) when the store does not answer. By
	// default this process then counts by itself.
	QuotaFailClosed bool

	// MaxBody bounds a request's body in bytes; files come on top with what their
	// maxSize tags allow. 0 means 1 MiB.
	MaxBody int64

	// Timeout bounds a handler whose interface has no timeout tag, through its
	// context. 0 means 30 s.
	Timeout time.Duration

	// KeepReplies bounds the bytes of last good replies that are kept for
	// interfaces with a stale step. 0 means 16 MiB.
	KeepReplies int

	// IdempotencyStore remembers replies by Idempotency-Key for all processes
	// together, such as package webv4/redisidempotent's. nil: each for itself.
	IdempotencyStore IdempotencyStore

	// KeepIdempotent bounds the bytes of replies that are remembered without an
	// IdempotencyStore. 0 means 16 MiB.
	KeepIdempotent int

	// Overload refuses calls that would only make all of them late. nil: none
	// are, whatever the load.
	Overload *Overload

	// TrustedProxies are the addresses whose X-Forwarded-For is believed.
	// The default believes nobody.
	TrustedProxies []netip.Prefix

	// TrustUnix believes the X-Forwarded-For of whoever is at the other end of a unix
	// socket, such as a proxy on the same machine. Without it those calls have no
	// address: no entry of Deny is about them, and quotas on addresses count them all
	// together as one's.
	TrustUnix bool

	// Codecs are formats besides JSON, XML and MessagePack, such as package
	// webv4/protobuf's.
	Codecs []Codec

	// CompressFrom is the size in bytes from which replies are compressed with
	// zstd or gzip for clients that take one of them. 0 means never. Do not compress replies that
	// hold a secret beside what a client can choose (the BREACH attack).
	CompressFrom int

	// RequestIDs gives every request an id: the header X-Request-Id of the reply,
	// RequestID for handlers, id in the access log. One that a trusted proxy
	// sends is kept.
	RequestIDs bool

	// Errors is how errors look. 0 means WeiboErrors.
	Errors ErrorStyle

	// ErrorCodes changes rows of the table of errors, or adds some.
	ErrorCodes ErrorCodes

	// Middleware wraps all interfaces and mounted handlers, the first outermost.
	// It runs after routing; access log and tracing are outside of it.
	Middleware []func(http.Handler) http.Handler

	// AccessLog gets a line for each request, from one goroutine, a moment later:
	// a JSON object, or Apache's combined format. nil: no access log.
	AccessLog   io.Writer
	CombinedLog bool

	// AccessLogger gets a record for each request in the place of AccessLog, also
	// from one goroutine: "request" with the members of the JSON object, and
	// referer and agent; Info, Warn for a status from 400 on, Error from 500 on. At
	// most 8192 records wait, others are dropped and counted. nil: none.
	AccessLogger *slog.Logger

	// LogSample is the share of the requests with a status below 400 that the
	// access log has; those that failed are all in it. 0 means all.
	LogSample float64

	// Deny refuses addresses, users and applications. nil: nobody.
	Deny *DenyList

	// CORS lets pages of other origins call. nil: none may.
	CORS *CORS

	Watchman *watchman.Watchman // nil: nothing is watched
	Logger   *slog.Logger       // nil means slog.Default(); hears of panics
}

func (o *Options) filled() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.MaxBody == 0 {
		out.MaxBody = 1 << 20
	}
	if out.QuotaTimeout == 0 {
		out.QuotaTimeout = 5 * time.Millisecond
	}
	if out.KeepReplies == 0 {
		out.KeepReplies = 16 << 20
	}
	if out.KeepIdempotent == 0 {
		out.KeepIdempotent = 16 << 20
	}
	if out.Timeout == 0 {
		out.Timeout = 30 * time.Second
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	var errs []error
	if out.MaxBody < 0 {
		errs = append(errs, fmt.Errorf("webv4: Options.MaxBody %d: negative", out.MaxBody))
	}
	if out.KeepReplies < 0 {
		errs = append(errs, fmt.Errorf("webv4: Options.KeepReplies %d: negative", out.KeepReplies))
	}
	if out.KeepIdempotent < 0 {
		errs = append(errs, fmt.Errorf("webv4: Options.KeepIdempotent %d: negative", out.KeepIdempotent))
	}
	if out.CompressFrom < 0 {
		errs = append(errs, fmt.Errorf("webv4: Options.CompressFrom %d: negative", out.CompressFrom))
	}
	if out.QuotaTimeout < 0 {
		errs = append(errs, fmt.Errorf("webv4: Options.QuotaTimeout %v: negative", out.QuotaTimeout))
	}
	if out.Timeout < 0 {
		errs = append(errs, fmt.Errorf("webv4: Options.Timeout %v: negative", out.Timeout))
	}
	if out.Errors < 0 || out.Errors > ProblemErrors {
		errs = append(errs, fmt.Errorf("webv4: Options.Errors %d: no such style", out.Errors))
	}
	var err error
	if out.ErrorCodes, err = out.ErrorCodes.filled(nil); err != nil {
		errs = append(errs, fmt.Errorf("webv4: Options.%w", err))
	}
	if out.Overload != nil {
		filled, err := out.Overload.filled()
		out.Overload = &filled
		errs = append(errs, err)
	}
	if out.AccessLog != nil && out.AccessLogger != nil {
		errs = append(errs, errors.New("webv4: Options.AccessLog and AccessLogger: want one of them"))
	}
	if out.LogSample < 0 || out.LogSample > 1 {
		errs = append(errs, fmt.Errorf("webv4: Options.LogSample %v: want 0 to 1", out.LogSample))
	}
	if out.CORS != nil {
		cors, err := out.CORS.filled()
		out.CORS = &cors
		errs = append(errs, err)
	}
	if out.Quotas != "" {
		if _, err := parseQuotas(out.Quotas); err != nil {
			errs = append(errs, fmt.Errorf("webv4: Options.Quotas: %w", err))
		}
	}
	for _, p := range out.TrustedProxies {
		if !p.IsValid() {
			errs = append(errs, fmt.Errorf("webv4: Options.TrustedProxies: %v is not a prefix", p))
		}
	}
	return out, errors.Join(errs...)
}
