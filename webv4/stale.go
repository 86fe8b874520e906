package webv4

import (
	"container/list"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// replies keeps the last good replies of interfaces with a stale step, at most
// so many bytes; those not used for longest go first.
type replies struct {
	limit int

	mu    sync.Mutex
	m     map[string]*list.Element
	order list.List // front: used last
	bytes int
}

type keptReply struct {
	key         string
	body        []byte
	contentType []string
	at          moment
}

// keptOverhead is about what an entry costs besides its key and body.
const keptOverhead = 200

func newReplies(limit int) *replies { return &replies{limit: limit, m: map[string]*list.Element{}} }

// get returns the reply that is kept under the key, if it is young enough.
func (k *replies) get(key string, now moment, age time.Duration) *keptReply {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.m[key]
	if e == nil {
		return nil
	}
	r := e.Value.(*keptReply)
	if now.sub(r.at) > age {
		return nil
	}
	k.order.MoveToFront(e)
	return r
}

// put keeps a copy of a reply unless there is one that is fresh.
func (k *replies) put(key string, contentType []string, body []byte, now moment, age time.Duration) {
	size := len(key) + len(body) + keptOverhead
	if size > k.limit/4 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.m[key]; e != nil {
		if now.sub(e.Value.(*keptReply).at) < age/8 {
			k.order.MoveToFront(e)
			return
		}
		k.removeLocked(e)
	}
	k.m[key] = k.order.PushFront(&keptReply{key, append([]byte(nil), body...), contentType, now})
	for k.bytes += size; k.bytes > k.limit; {
		k.removeLocked(k.order.Back())
	}
}

func (k *replies) removeLocked(e *list.Element) {
	r := k.order.Remove(e).(*keptReply)
	delete(k.m, r.key)
	k.bytes -= len(r.key) + len(r.body) + keptOverhead
}

// replyKey tells replies apart: by all of the URL, by who asks, and by the headers
// and cookies that are parameters.
func replyKey(c *call, r *http.Request) string {
	key := string('0'+rune(c.out.format)) + r.Method + " " + r.URL.EscapedPath() + "?" + r.URL.RawQuery + "\x00" + c.caller.principal.ID + "\x00" + c.caller.principal.App
	for i := range c.op.plan.fields {
		switch f := &c.op.plan.fields[i]; f.source {
		case fromHeader:
			key += fmt.Sprintf(" %q", r.Header[f.name])
		case fromCookie:
			for _, cookie := range r.CookiesNamed(f.name) {
				key += fmt.Sprintf(" %q", cookie.Value)
			}
			key += ";"
		}
	}
	return key
}

// send writes a kept reply.
func (r *keptReply) send(o *reply, now moment) {
	o.w.Header()["Age"] = numberHeader(int(now.sub(r.at) / time.Second))
	o.body(r.contentType, r.body)
}
