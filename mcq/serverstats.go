package mcq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/internal/memcached"
)

// stats answers the stats command:
//
//	stats              the server's counters, from the start or the last reset on
//	stats reset        begins them anew; those of queues, and Server.Stats, go on
//	stats queue        memcacheq's lines, name and messages put/done
//	stats queue NAME   all figures of that queue that are known, in kestrel's form
//	stats queues       those of all queues
func (c *session) stats(cmd *memcached.Command) {
	what, name := "", []byte(nil)
	if len(cmd.Args) > 0 {
		what = string(cmd.Args[0])
	}
	if what == "queue" && len(cmd.Args) == 2 {
		name = cmd.Args[1]
	}
	var err error
	switch {
	case what == "":
		c.serverStats()
	case name != nil:
		err = c.queueStats(name)
	case what == "queue" && len(cmd.Args) == 1:
		err = c.eachQueue(func(b []byte, q *QueueStats) []byte {
			b = append(append(b, "STAT "...), q.Name...)
			b = strconv.AppendUint(append(b, ' '), q.Put, 10)
			b = strconv.AppendUint(append(b, '/'), q.Done, 10)
			return append(b, "\r\n"...)
		})
	case what == "queues":
		err = c.eachQueue(appendQueueStats)
	case what == "items", what == "slabs", what == "sizes":
	case what == "reset":
		c.srv.resetStats()
		c.say("RESET\r\n")
		return
	default:
		c.complain(replyError)
		return
	}
	if err != nil {
		c.complain(errorReply(err))
		return
	}
	c.say(replyEnd)
}

// eachQueue says what line appends for each queue.
func (c *session) eachQueue(line func([]byte, *QueueStats) []byte) error {
	queues, err := c.srv.b.QueueStats(context.Background())
	for i := range queues {
		c.out.Append(func(b []byte) []byte { return line(b, &queues[i]) })
	}
	return err
}

// queueStats says the figures of one queue, nothing if there is none of that name.
func (c *session) queueStats(name []byte) error {
	if c.srv.local == nil && bytes.IndexByte(name, '+') >= 0 {
		// Elsewhere a subscriber may be made by who asks for it.
		return c.eachQueue(func(b []byte, s *QueueStats) []byte {
			if s.Name == string(name) {
				b = appendQueueStats(b, s)
			}
			return b
		})
	}
	q, err := c.find(name, false)
	if q == nil || err != nil {
		return err
	}
	s, err := q.Stats(context.Background())
	if errors.Is(err, ErrDropped) {
		return nil
	}
	if err == nil {
		c.out.Append(func(b []byte) []byte { return appendQueueStats(b, &s) })
	}
	return err
}

// queueFigures are those of a queue under kestrel's names, and under others where it
// has none; those that are not always known are left out where they are not. Items are
// the backlog, leased and delayed ones included.
var queueFigures = []struct {
	name   string
	always bool
	of     func(s *QueueStats) uint64
}{
	{"items", true, (*QueueStats).backlog},
	{"bytes", false, func(s *QueueStats) uint64 { return uint64(s.Bytes) }},
	{"total_items", true, func(s *QueueStats) uint64 { return s.Put }},
	{"done_items", true, func(s *QueueStats) uint64 { return s.Done }},
	{"expired_items", false, func(s *QueueStats) uint64 { return s.Expired }},
	{"discarded", false, func(s *QueueStats) uint64 { return s.Discarded }},
	{"buried", false, func(s *QueueStats) uint64 { return s.Buried }},
	{"duplicates", false, func(s *QueueStats) uint64 { return s.Duplicates }},
	{"delayed_items", false, func(s *QueueStats) uint64 { return uint64(s.Delayed) }},
	{"open_transactions", true, func(s *QueueStats) uint64 { return uint64(s.Leased) }},
	{"waiters", true, func(s *QueueStats) uint64 { return uint64(s.Waiters) }},
	{"age_msec", true, func(s *QueueStats) uint64 { return uint64(s.OldestAge.Milliseconds()) }},
	{"paused", true, func(s *QueueStats) uint64 {
		if s.Paused {
			return 1
		}
		return 0
	}},
}

func (s *QueueStats) backlog() uint64 { return s.Backlog() }

func appendQueueStats(b []byte, s *QueueStats) []byte {
	for _, f := range queueFigures {
		if s.Partial && !f.always {
			continue
		}
		b = append(append(b, "STAT queue_"...), s.Name...)
		b = append(append(b, '_'), f.name...)
		b = strconv.AppendUint(append(b, ' '), f.of(s), 10)
		b = append(b, "\r\n"...)
	}
	return b
}

// statsBase is what stats subtracts: the counters at the last reset.
type statsBase struct {
	ServerStats
	read, written uint64
}

func (s *Server) statsBase() statsBase {
	return statsBase{s.Stats(), s.stats.bytesRead.Load(), s.stats.bytesWritten.Load()}
}

// resetStats begins the counters of the stats command anew, as memcached does. Those
// of Stats must only grow.
func (s *Server) resetStats() {
	base := s.statsBase()
	s.base.Store(&base)
}

func (c *session) serverStats() {
	s, base := c.srv.statsBase(), statsBase{}
	if since := c.srv.base.Load(); since != nil {
		base = *since
	}
	now := time.Now()
	user, system := cputime.Split()
	for _, line := range []struct {
		name  string
		value any
	}{
		{"pid", os.Getpid()},
		{"uptime", int(now.Sub(c.srv.began).Seconds())},
		{"time", now.Unix()},
		{"version", version},
		{"pointer_size", strconv.IntSize},
		{"rusage_user", seconds(user)},
		{"rusage_system", seconds(system)},
		{"curr_connections", s.Conns},
		{"total_connections", s.Accepted - base.Accepted},
		{"connection_structures", s.Conns},
		{"rejected_connections", s.Refused - base.Refused},
		{"get_cmds", s.Gets - base.Gets},
		{"get_hits", s.GetHits - base.GetHits},
		{"set_cmds", s.Sets - base.Sets},
		{"set_hits", s.SetHits - base.SetHits},
		{"errors", s.Errors - base.Errors},
		{"auth_errors", s.AuthErrors - base.AuthErrors},
		{"bytes_read", s.read - base.read},
		{"bytes_written", s.written - base.written},
		{"threads", runtime.GOMAXPROCS(0)},
	} {
		c.out.Append(func(b []byte) []byte { return fmt.Appendf(b, "STAT %s %v\r\n", line.name, line.value) })
	}
}

// seconds writes d as memcached writes processor time.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }
