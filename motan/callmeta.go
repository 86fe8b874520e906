package motan

import (
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
	others                           int       // pairs that are the application's
	added                            *Metadata // these, if lastSeen has read them
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
