package webv4

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// accessLog gathers lines, or records of slog, and hands them on from one
// goroutine, so that no request waits for a disk. When that is too slow, they are
// dropped and counted.
type accessLog struct {
	w        io.Writer
	combined bool
	slog     slog.Handler // in the place of w
	dropped  atomic.Uint64
	failed   atomic.Uint64

	mu     sync.Mutex
	buf    []byte
	list   []entry // for slog
	second int64   // whose text stamp is
	stamp  []byte
	closed bool

	wake chan struct{} // capacity 1
	once sync.Once
	stop chan struct{}
	done chan struct{}
}

const (
	logLimit  = 4 << 20   // bytes that may wait
	logMost   = 8192      // records that may wait
	logWake   = 1024      // records after which the handler is woken early
	logChunk  = 128 << 10 // bytes after which the writer is woken early
	logPeriod = 200 * time.Millisecond
)

func newAccessLog(w io.Writer, combined bool, to slog.Handler) *accessLog {
	l := &accessLog{w: w, combined: combined, slog: to, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

// entry is one line of the access log.
type entry struct {
	at                     time.Time
	took                   time.Duration
	method, path, ip, user string
	trace, id              string
	proto, referer, agent  string // for the combined format
	status, bytes, code    int
	degraded               bool
	err                    error
}

// add appends the entry as one line. The query is left out: it may hold a token.
func (l *accessLog) add(e *entry) {
	if l.slog != nil {
		l.addRecord(e)
		return
	}
	l.mu.Lock()
	if l.closed || len(l.buf) > logLimit {
		l.mu.Unlock()
		l.dropped.Add(1)
		return
	}
	if s := e.at.Unix(); s != l.second || l.stamp == nil {
		l.second = s
		if l.combined {
			l.stamp = e.at.AppendFormat(l.stamp[:0], "02/Jan/2006:15:04:05 -0700")
		} else {
			l.stamp = e.at.UTC().AppendFormat(l.stamp[:0], "2006-01-02T15:04:05.")
		}
	}
	before := len(l.buf)
	if l.combined {
		l.buf = e.appendCombined(l.buf, l.stamp)
	} else {
		l.buf = e.appendJSON(l.buf, l.stamp)
	}
	after := len(l.buf)
	l.mu.Unlock()
	if before < logChunk && after >= logChunk {
		l.hurry()
	}
}

// hurry wakes the writer.
func (l *accessLog) hurry() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// maxLogged bounds what a line repeats of one thing that the client sent.
const maxLogged = 1024

// appendJSON appends the entry as an object; stamp is its second.
func (e *entry) appendJSON(b, stamp []byte) []byte {
	b = append(b, `{"time":"`...)
	b = append(b, stamp...)
	ms := e.at.Nanosecond() / 1e6
	b = append(b, byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	b = append(b, `Z","ip":`...)
	b = appendJSONString(b, e.ip)
	b = append(b, `,"method":`...)
	b = appendJSONString(b, e.method)
	b = append(b, `,"path":`...)
	b = appendJSONString(b, e.path[:min(len(e.path), maxLogged)])
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(e.status), 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, int64(e.bytes), 10)
	b = append(b, `,"us":`...)
	b = strconv.AppendInt(b, e.took.Microseconds(), 10)
	if e.user != "" {
		b = append(b, `,"user":`...)
		b = appendJSONString(b, e.user)
	}
	if e.code != 0 {
		b = append(b, `,"code":`...)
		b = strconv.AppendInt(b, int64(e.code), 10)
	}
	if e.degraded {
		b = append(b, `,"degraded":true`...)
	}
	if e.id != "" {
		b = append(b, `,"id":"`...)
		b = append(b, e.id...)
		b = append(b, '"')
	}
	if e.trace != "" {
		b = append(b, `,"trace":"`...)
		b = append(b, e.trace...)
		b = append(b, '"')
	}
	if e.err != nil {
		text := e.err.Error()
		b = append(b, `,"error":`...)
		b = appendJSONString(b, text[:min(len(text), maxLogged)])
	}
	return append(b, "}\n"...)
}

// appendCombined appends Apache's combined format, escaped as Apache does.
func (e *entry) appendCombined(b, stamp []byte) []byte {
	b = appendWord(b, e.ip)
	b = append(b, " - "...)
	b = appendWord(b, e.user)
	b = append(b, " ["...)
	b = append(b, stamp...)
	b = append(b, "] \""...)
	b = appendApache(b, e.method)
	b = append(b, ' ')
	b = appendApache(b, e.path)
	b = append(b, ' ')
	b = appendApache(b, e.proto)
	b = append(b, "\" "...)
	b = strconv.AppendInt(b, int64(e.status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(e.bytes), 10)
	for _, s := range [...]string{e.referer, e.agent} {
		b = append(b, " \""...)
		if s == "" {
			s = "-"
		}
		b = append(appendApache(b, s), '"')
	}
	return append(b, '\n')
}

// appendWord appends what must be one word.
func appendWord(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	return appendApache(b, strings.ReplaceAll(s, " ", "_"))
}

func appendApache(b []byte, s string) []byte {
	for i := range min(len(s), maxLogged) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}

func (l *accessLog) run() {
	defer close(l.done)
	tick := time.NewTicker(logPeriod)
	defer tick.Stop()
	var spare []byte
	var spareList []entry
	for ending := false; !ending; {
		select {
		case <-tick.C:
		case <-l.wake:
		case <-l.stop:
			ending = true
		}
		l.mu.Lock()
		out := l.buf
		l.buf = spare[:0]
		list := l.list
		l.list = spareList[:0]
		l.closed = ending
		l.mu.Unlock()
		l.handle(list)
		clear(list) // lets go of what requests had
		spareList = list
		if len(out) > 0 {
			if _, err := l.w.Write(out); err != nil {
				l.failed.Add(1)
			}
		}
		spare = out
	}
}

// close ends the log and waits until what is left is written.
func (l *accessLog) close(ctx context.Context) error {
	l.once.Do(func() { close(l.stop) })
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
