package motan

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Rate is how many calls may be made: PerSecond in the long run, Burst at once.
type Rate struct {
	PerSecond float64
	Burst     int // 0 means PerSecond, rounded up
}

// Limiter admits as much work at once as goes well. Both methods are called by many
// goroutines at once and must not wait.
type Limiter interface {
	// Acquire admits a call, or refuses it with an error that says why.
	Acquire() error
	// Release ends an admitted call: how long it took and how it went.
	Release(took time.Duration, err error)
}

// ServerOptions configures NewServer. The zero value is ready to use.
type ServerOptions struct {
	// MaxFrame bounds the metadata and the body of a frame, in bytes each; a
	// gzip body may inflate to as much. 0 means 10 MiB.
	MaxFrame int

	// MaxBuffered bounds the bytes of the requests and answers over 16 KiB that the
	// server holds at once, of all connections and of HTTPHandler: requests from
	// their first bytes until their handlers return, with what gzip bodies inflate to,
	// and again for the values decoded, once if that is a string or a []byte and four
	// times if not, and for metadata, whose pairs count 32 bytes each besides their
	// text; and answers until they are written.
	// Requests that have no room in three quarters of it are read over and rejected
	// with CodeReject, and so are calls of methods whose answers have lately been
	// larger than what is left. An answer that has no room becomes an error with
	// CodeInternal. Then connections end, too, whose peers take less than 256 KiB of
	// their answers in a second though there is more. What is small comes besides: at most some 100 KiB for each
	// connection, and 32 KiB for each call in flight. 0 means 256 MiB, or 20 times
	// MaxFrame if that is more; less than 10 times MaxFrame is an error; negative sets
	// no bound.
	MaxBuffered int

	// MaxInFlight bounds the calls worked on at once; further ones are rejected
	// with CodeReject. 0 means 4096. With a Watchman, its dial motan.max-in-flight
	// bounds them too, of all servers that it watches each. A call counts until its
	// answer is with those that its connection writes, which takes up to 1 MiB of them
	// before that; when calls are rejected, connections end on which calls wait for
	// a peer that takes less than 256 KiB of its answers in a second.
	MaxInFlight int

	// Limiter, if not nil, is asked for each call besides, such as a
	// control.Limiter of package watchman/control, which finds the right bound by
	// itself. Calls that it does not admit are rejected with CodeReject.
	Limiter Limiter

	// MaxPerMethod bounds the calls of one method. 0 means that a method may have
	// half of MaxInFlight once three quarters are in use and there are others
	// beside it; negative sets no bound.
	MaxPerMethod int

	// Rates bounds calls by "service/method" or, all its methods together, by
	// "service". What comes faster is rejected with CodeReject.
	Rates map[string]Rate

	// MaxConns bounds the connections; further ones are closed at once.
	// 0 means 4096.
	MaxConns int

	// IdleTimeout closes a connection that sends nothing for so long.
	// 0 means 15 minutes; negative never.
	IdleTimeout time.Duration

	// DrainGrace is how long a server that shuts down still answers calls of
	// clients that have not understood that it leaves. 0 means 250 ms; negative
	// refuses them at once.
	DrainGrace time.Duration

	// GzipOver is the size in bytes over which answers are compressed. 0
	// compresses none.
	GzipOver int

	// Tokens, if there are any, are what callers must prove to know: one of them
	// as ClientOptions.Token. Calls without are answered with CodeUnauthorized.
	Tokens []string

	// AnswerOneWay answers one-way calls too, for motan-go clients of version 1,
	// which wait for that.
	AnswerOneWay bool

	// Interceptors wrap each call, the first one outermost.
	Interceptors []Interceptor

	Watchman *watchman.Watchman // nil: nothing is watched
	Logger   *slog.Logger       // nil means slog.Default()
}

func (o *ServerOptions) filled() (ServerOptions, error) {
	var out ServerOptions
	if o != nil {
		out = *o
	}
	if out.MaxFrame == 0 {
		out.MaxFrame = 10 << 20
	}
	switch {
	case out.MaxBuffered == 0:
		out.MaxBuffered = max(defaultBuffered, 2*framesBuffered*min(out.MaxFrame, math.MaxInt/2/framesBuffered))
	case out.MaxBuffered < 0:
		out.MaxBuffered = math.MaxInt
	}
	if out.MaxInFlight == 0 {
		out.MaxInFlight = 4096
	}
	if out.MaxConns == 0 {
		out.MaxConns = 4096
	}
	if out.IdleTimeout == 0 {
		out.IdleTimeout = 15 * time.Minute
	}
	out.IdleTimeout = max(out.IdleTimeout, 0)
	if out.DrainGrace == 0 {
		out.DrainGrace = 250 * time.Millisecond
	}
	out.DrainGrace = max(out.DrainGrace, 0)
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	var errs []error
	for _, f := range [...]struct {
		name  string
		value int
	}{{"MaxFrame", out.MaxFrame}, {"MaxInFlight", out.MaxInFlight}, {"MaxConns", out.MaxConns}, {"GzipOver", out.GzipOver}} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("motan: ServerOptions.%s %d: negative", f.name, f.value))
		}
	}
	if out.MaxFrame > 0 && out.MaxBuffered/framesBuffered < out.MaxFrame {
		errs = append(errs, fmt.Errorf("motan: ServerOptions.MaxBuffered %d: less than %d times MaxFrame, which is %d", out.MaxBuffered, framesBuffered, out.MaxFrame))
	}
	for name, r := range out.Rates {
		if !(r.PerSecond > 0) || r.Burst < 0 {
			errs = append(errs, fmt.Errorf("motan: ServerOptions.Rates %q: %v a second with bursts of %d", name, r.PerSecond, r.Burst))
		}
	}
	for i, t := range out.Tokens {
		if t == "" || strings.Contains(t, "\n") {
			errs = append(errs, fmt.Errorf("motan: ServerOptions.Tokens[%d]: empty, or contains a line feed", i))
		}
	}
	out.Tokens = slices.Clone(out.Tokens)
	out.Rates = maps.Clone(out.Rates)
	out.Interceptors = slices.Clone(out.Interceptors)
	errs = append(errs, noNils("ServerOptions", out.Interceptors))
	return out, errors.Join(errs...)
}
