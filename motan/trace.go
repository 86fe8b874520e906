package motan

import (
	"strings"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// keyKeep is the metadata by which a server says that its part of the trace is
// worth keeping, so that the caller keeps its own.
const keyKeep = "heddle-keep"

// The phases of a span; what comes before the first one is the queue: the wait for
// an endpoint, or for a goroutine.
var (
	clientPhases = [...]string{"encode", "write", "wait", "decode"}
	serverPhases = [...]string{"decode", "handle", "encode"}
)

const (
	phaseEncode, phaseWrite, phaseWait, phaseAnswer = 0, 1, 2, 3
	phaseArgument, phaseHandle, phaseReply          = 0, 1, 2
)

// phases are where the phases of a span begin. To add them to a span costs more
// than the rest of it, so only those that will be kept get them: as phases if that
// is known from the start, else as a fact when the span ends.
type phases struct {
	span *watchman.Span // nil: nobody wants to know
	kept bool           // whatever happens
	at   [4]time.Duration
}

func (p *phases) init(span *watchman.Span, sampled bool) {
	p.span = span
	p.kept = span != nil && (sampled || span.Debug() || span.Lane() != "")
}

// begin says that a phase begins now. A call that is tried again has only those of
// the last try as a fact.
func (p *phases) begin(names []string, i int) {
	switch {
	case p.span == nil:
	case p.kept:
		p.span.Phase(names[i])
	default:
		p.at[i] = max(p.span.Elapsed(), 1)
	}
}

// tell adds the phases to a span that is about to end and be kept.
func (p *phases) tell(names []string) {
	if p.kept {
		return
	}
	var b strings.Builder
	name, from := "queue", time.Duration(0)
	end := p.span.Elapsed()
	part := func(until time.Duration) {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name + " " + max(until-from, 0).Round(time.Microsecond).String())
	}
	for i, next := range names {
		if at := p.at[i]; at > 0 {
			part(at)
			name, from = next, at
		}
	}
	part(end)
	p.span.SetAttr("motan.phases", b.String())
}
