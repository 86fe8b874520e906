package mcq

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// These look inside because what they feed comes from a disk or a wire in a
// form that only the package itself writes.

var traced = watchman.SpanContext{TraceID: watchman.TraceID{1, 2, 3}, SpanID: watchman.SpanID{4}, Flags: watchman.FlagSampled, Baggage: "k=v"}

func FuzzRecord(f *testing.F) {
	for _, m := range []Message{{}, {Body: []byte("body"), Flags: 1<<32 - 1}, {Body: []byte{0}, Trace: traced},
		{Body: []byte("x"), Delay: time.Second, TTL: time.Hour, Key: "key", Dead: &Dead{Queue: "q", ID: 7, Attempts: 3, Reason: "why"}}} {
		f.Add(appendRecord(nil, &m, 1_700_000_000_000))
	}
	f.Add([]byte{recordFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{recordFormat, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Message
		if parseRecord(data, &m) != nil {
			return
		}
		var again Message
		if err := parseRecord(appendRecord(nil, &m, m.Enqueued.UnixMilli()), &again); err != nil {
			t.Fatalf("written again: %v", err)
		}
		if !bytes.Equal(m.Body, again.Body) || m.Flags != again.Flags || !m.Enqueued.Equal(again.Enqueued) || m.Trace != again.Trace ||
			m.Delay != again.Delay || m.TTL != again.TTL || m.Key != again.Key || (m.Dead == nil) != (again.Dead == nil) || m.Dead != nil && *m.Dead != *again.Dead {
			t.Fatalf("%+v became %+v", m, again)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	for _, m := range []Message{{}, {Attempts: 3, Enqueued: time.UnixMilli(1)}, {Trace: traced},
		{Trace: traced, Delay: time.Second, TTL: time.Hour, Key: "key", Dead: &Dead{Queue: "q", ID: 7, Attempts: 3, Reason: "why"}}} {
		f.Add(append(appendEnvelope(nil, &m), "body"...))
	}
	f.Add([]byte{4, 1, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		var m, again Message
		body, err := parseEnvelope(data, &m)
		if err != nil {
			return
		}
		got, err := parseEnvelope(append(appendEnvelope(nil, &m), body...), &again)
		if err != nil || !bytes.Equal(got, body) || m.Attempts != again.Attempts || !m.Enqueued.Equal(again.Enqueued) || m.Trace != again.Trace ||
			m.Delay != again.Delay || m.TTL != again.TTL || m.Key != again.Key || (m.Dead == nil) != (again.Dead == nil) || m.Dead != nil && *m.Dead != *again.Dead {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

func FuzzProgress(f *testing.F) {
	for _, p := range []progress{{cursor: 1}, {cursor: 7, beyond: []interval{{9, 10}, {12, 20}}}} {
		f.Add(p.append(nil))
	}
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{1, 1, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseProgress(data)
		if err != nil {
			return
		}
		at := p.cursor
		for _, v := range p.beyond {
			if v.from <= at || v.to <= v.from {
				t.Fatalf("%+v is not in order", p)
			}
			at = v.to
		}
		q, err := parseProgress(p.append(nil))
		if err != nil || q.cursor != p.cursor || !slices.Equal(q.beyond, p.beyond) {
			t.Fatalf("%+v became %+v, %v", p, q, err)
		}
	})
}

func FuzzTally(f *testing.F) {
	for _, t := range []tally{{}, {1, 200, 1 << 40, 1<<64 - 1}} {
		f.Add(t.append(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseTally(data)
		if err != nil {
			return
		}
		if again, err := parseTally(got.append(nil)); err != nil || again != got {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
	})
}

func FuzzKeyOptions(f *testing.F) {
	for _, key := range []string{"q", "q/lease=30/n=256/t=500/h", "q/ack=7,9-12", "q/nack=8", "q/id=18446744073709551615", "q/", "q/n=", "/", "q/t=99999999999999999999"} {
		f.Add([]byte(key))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		var o keyOptions
		if o.parse(key, anyOption) != nil {
			return
		}
		if o.n < 0 || o.n > maxBatch || o.wait < 0 || o.wait > maxWait || o.lease < 0 || o.lease > 12*time.Hour || bytes.IndexByte(o.name, '/') >= 0 {
			t.Fatalf("%q gave %+v", key, o)
		}
	})
}

func FuzzIDs(f *testing.F) {
	for _, list := range []string{"7", "7,9-12", "1-65536", "1-65537", "0", "5-1", ",", "9223372036854775808", "1-1,1"} {
		f.Add([]byte(list))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		ids, err := parseIDs(list)
		if err != nil {
			return
		}
		if len(ids) == 0 || len(ids) > maxIDs {
			t.Fatalf("%q gave %d ids", list, len(ids))
		}
		ids = slices.Compact(slices.Sorted(slices.Values(ids)))
		var back []uint64
		for rest := ids; len(rest) > 0; {
			var text []byte
			text, rest = appendIDs(nil, rest, 200)
			more, err := parseIDs(text)
			if err != nil || len(text) > 200 {
				t.Fatalf("%q: %v", text, err)
			}
			back = append(back, more...)
		}
		if !slices.Equal(back, ids) {
			t.Fatalf("%v became %v", ids, back)
		}
	})
}

// FuzzStore puts foreign keys and values into a store: it opens or says why not.
func FuzzStoreKeys(f *testing.F) {
	f.Add([]byte("n"), []byte{0, 0, 0, 1})
	f.Add([]byte("nq"), []byte{0, 0, 0})
	f.Add([]byte("nq"), []byte{0, 0, 0, 9})
	f.Add(cursorKey(1), []byte{0})
	f.Add(append(cursorKey(1), 1), []byte{1, 0})
	f.Add(recordKey(1, 7), []byte("x"))
	f.Add(recordKey(1, 0), []byte{recordFormat, 0, 0, 0})
	f.Add(recordKey(1, 1<<64-2), []byte{recordFormat, 0, 0, 0})
	f.Add(recordKey(1, 3)[:9], []byte{})
	f.Add(append(recordKey(1, 3), 0), []byte{})
	f.Add([]byte("f"), []byte{9})
	f.Add([]byte("nq+s"), []byte{0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2})
	f.Add([]byte("nz+s"), []byte{0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2})
	f.Add(indexKey(prefixDelay, 1, 5, 1), []byte{})
	f.Add(indexKey(prefixDelay, 1, 5, 1)[:20], []byte{})
	f.Add(indexKey(prefixSeen, 1, 5, 1), []byte("key"))
	f.Add(tallyKey(1), []byte{0, 0})
	f.Fuzz(fuzzStoreKeys)
}
