package motan

import (
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// keyKeep is the metadata by which a server says that its part of the trace is
// worth keeping, so that the caller keeps its own.
const keyKeep = "heddle-keep"

// phases are the phases of a span: on a client queue, encode, write, wait and
// decode, on a server decode, handle and encode behind the wait for a goroutine.
// Each costs a clock reading and, all together, more than the rest of the span:
// only spans that are kept whatever happens get them. Others that prove worth
// keeping get a fact that says as much as can be known for one clock reading.
type phases struct {
	span   *watchman.Span
	always bool
}

func (p *phases) init(span *watchman.Span, sampled bool) {
	p.span, p.always = span, sampled || span.Debug() || span.Lane() != ""
}

// begin says that a phase begins now.
func (p *phases) begin(name string) {
	if p.always {
		p.span.Phase(name)
	}
}

// factPhases is the name of the fact.
const factPhases = "motan.phases"

// slowCall is how long a call takes at least to be told the phases of if it went
// well.
const slowCall = 10 * time.Millisecond

// tell adds the phases of a call to its span, if that is about to be kept.
func (o *outgoingCall) tell(err error) {
	if o.phases.always || o.sent.IsZero() || err == nil && o.answered.Sub(o.started) < slowCall || !o.span.Keeping(err) {
		return
	}
	text := "send " + short(o.sent.Sub(o.started))
	if o.answered.IsZero() {
		text += ", wait " + short(time.Since(o.sent))
	} else {
		text += ", wait " + short(o.answered.Sub(o.sent)) + ", decode " + short(time.Since(o.answered))
	}
	o.span.SetAttr(factPhases, text)
}

// tell does that for the span of a handler.
func (j *job) tell(span *watchman.Span, err error) {
	if j.phases.always || j.ended.IsZero() || err == nil && j.ended.Sub(j.ctx.received) < slowCall {
		return
	}
	span.SetAttr(factPhases, "queue "+short(j.began.Sub(j.ctx.received))+", handle "+short(j.ended.Sub(j.began)))
}

func short(d time.Duration) string { return max(d, 0).Round(time.Microsecond).String() }
