package motan

import (
	"bytes"
	"strconv"
	"time"
)

// callMeta is what a server wants to know of a request's metadata. The slices
// point into it.
type callMeta struct {
	service, method, group, version  []byte
	application, token               []byte
	timeout                          time.Duration
	traceparent, tracestate, baggage []byte
	framework                        bool
	others                           int    // pairs that are the application's
	own                              []byte // the part that these are in
}

func (m *callMeta) read(meta []byte) {
	for {
		k, v, rest, ok := nextPair(meta)
		if !ok {
			return
		}
		meta = rest
		switch string(k) {
		case keyService:
			m.service = v
		case keyMethod:
			m.method = v
		case keyGroup:
			m.group = v
		case keyVersion:
			m.version = v
		case keyTimeout:
			if ms, err := strconv.ParseUint(string(v), 10, 31); err == nil {
				m.timeout = time.Duration(ms) * time.Millisecond
			}
		case keyTraceparent:
			m.traceparent = v
		case keyTracestate:
			m.tracestate = v
		case keyBaggage:
			m.baggage = v
		case keyApplication:
			m.application = v
		case keyAuth:
			m.token = v
		case keyFramework:
			m.framework = true
		default:
			m.others++
		}
	}
}

const (
	// mostHeads and longestHead bound what a connection remembers of metadata.
	mostHeads   = 64
	longestHead = 512
)

var endOfHead = []byte("\n" + keyTimeout + "\n")

// read reads a request's metadata. Its head, all that stands before the time that is
// left, is the same for all calls of one method by one client: it is read once.
func (l *lastSeen) read(meta []byte) (m callMeta) {
	m.own = meta
	if n := bytes.Index(meta, endOfHead); n > 0 && n <= longestHead {
		if head := l.head(meta[:n]); head != nil {
			m = *head
			m.own = meta[n+1:]
		}
	}
	m.read(m.own)
	return m
}

// head returns what a head says, nil if it has to be read with the rest.
func (l *lastSeen) head(text []byte) *callMeta {
	if head := l.heads[string(text)]; head != nil {
		return head
	}
	// After a key without a value, what looks like the time is that.
	if len(l.heads) == mostHeads || bytes.Count(text, endOfHead[:1])%2 == 0 {
		return nil
	}
	head := new(callMeta)
	head.read(bytes.Clone(text))
	if head.others > 0 {
		return nil
	}
	if l.heads == nil {
		l.heads = make(map[string]*callMeta)
	}
	l.heads[string(text)] = head
	return head
}
