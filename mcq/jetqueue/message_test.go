package jetqueue_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/jetqueue"
)

// What others put into headers is a message or nothing, and what we write is
// what we read.
func FuzzHeader(f *testing.F) {
	f.Add("7", "1500", "1000", "kq", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "q", "12", "3", "because")
	f.Add("-1", "-1", "99999999999999999999", "k=4", "00-", "q+s", "-1", "x", "\r\n")
	f.Add("4294967296", "1e3", "315360000001", "id", "", "", "1", "1", "")
	f.Fuzz(func(t *testing.T, flags, delay, ttl, id, trace, deadQueue, deadID, deadAttempts, reason string) {
		m := jetqueue.ParseHeader(nats.Header{
			"Mcq-Flags": {flags}, "Mcq-Delay": {delay}, "Mcq-TTL": {ttl}, "Nats-Msg-Id": {id}, "Traceparent": {trace},
			"Mcq-Dead-Queue": {deadQueue}, "Mcq-Dead-Id": {deadID}, "Mcq-Dead-Attempts": {deadAttempts}, "Mcq-Dead-Reason": {reason},
		})
		if m.Delay < 0 || m.TTL < 0 || m.Delay > 10*366*24*time.Hour || m.TTL > 10*366*24*time.Hour {
			t.Fatalf("Delay %v, TTL %v", m.Delay, m.TTL)
		}
		m.Dead = nil // only written by whoever buries
		back := jetqueue.ParseHeader(jetqueue.NatsMsg(&m).Header)
		if !reflect.DeepEqual(back, m) {
			t.Fatalf("wrote %+v, read %+v", m, back)
		}
	})
}

func TestHeader(t *testing.T) {
	m := mcq.Message{Flags: 1<<32 - 1, Delay: 1500 * time.Millisecond, TTL: time.Hour, Key: "a b\x00=é"}
	if got := jetqueue.ParseHeader(jetqueue.NatsMsg(&m).Header); !reflect.DeepEqual(got, m) {
		t.Errorf("wrote %+v, read %+v", m, got)
	}
	m = mcq.Message{Delay: time.Microsecond}
	if got := jetqueue.ParseHeader(jetqueue.NatsMsg(&m).Header); got.Delay != time.Millisecond {
		t.Errorf("delay %v", got.Delay)
	}
	if h := jetqueue.NatsMsg(&mcq.Message{}).Header; len(h) != 1 {
		t.Errorf("headers of a plain message: %v", h)
	}
}
