package mcq

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/internal/memcached"
)

// stats answers the stats command: the server's counters; with "queue" the
// lines of memcacheq, name and messages put/done; with "queues" more of each.
func (c *session) stats(cmd *memcached.Command) {
	what := ""
	if len(cmd.Args) > 0 {
		what = string(cmd.Args[0])
	}
	var queues []QueueStats
	if what == "queue" || what == "queues" {
		var err error
		if queues, err = c.srv.b.QueueStats(context.Background()); err != nil {
			c.complain(serverError(err))
			return
		}
	}
	switch what {
	case "":
		c.serverStats()
	case "queue":
		for _, q := range queues {
			c.out.Append(func(b []byte) []byte {
				b = append(b, "STAT "+q.Name+" "...)
				b = strconv.AppendUint(b, q.Put, 10)
				b = append(b, '/')
				b = strconv.AppendUint(b, q.Done, 10)
				return append(b, "\r\n"...)
			})
		}
	case "queues":
		for _, q := range queues {
			c.out.Append(func(b []byte) []byte {
				b = fmt.Appendf(b, "STAT queue_%s_items %d\r\n", q.Name, q.Backlog())
				b = fmt.Appendf(b, "STAT queue_%s_total_items %d\r\n", q.Name, q.Put)
				b = fmt.Appendf(b, "STAT queue_%s_open_transactions %d\r\n", q.Name, q.Leased)
				return fmt.Appendf(b, "STAT queue_%s_age_msec %d\r\n", q.Name, q.OldestAge.Milliseconds())
			})
		}
	case "items", "slabs", "sizes":
	case "reset":
		c.say("RESET\r\n")
		return
	default:
		c.complain(replyError)
		return
	}
	c.say(replyEnd)
}

func (c *session) serverStats() {
	s := c.srv.Stats()
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
		{"total_connections", s.Accepted},
		{"connection_structures", s.Conns},
		{"rejected_connections", s.Refused},
		{"get_cmds", s.Gets},
		{"get_hits", s.GetHits},
		{"set_cmds", s.Sets},
		{"set_hits", s.SetHits},
		{"errors", s.Errors},
		{"bytes_read", c.srv.stats.bytesRead.Load()},
		{"bytes_written", c.srv.stats.bytesWritten.Load()},
		{"threads", runtime.GOMAXPROCS(0)},
	} {
		c.out.Append(func(b []byte) []byte { return fmt.Appendf(b, "STAT %s %v\r\n", line.name, line.value) })
	}
}

// seconds writes d as memcached writes processor time.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }
