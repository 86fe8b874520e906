package mcq

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxStats is how many STAT lines a client takes for one command: more queues than a
// server has by default.
const maxStats = 1 << 20

// QueueStats lists all queues on the server by name. It sends a command for each; a
// queue that is dropped meanwhile is left out.
func (c *Client) QueueStats(ctx context.Context) ([]QueueStats, error) {
	var names []string
	err := c.stats(ctx, []byte("stats queue\r\n"), 1, func(_ int, name, _ []byte) error {
		names = append(names, string(name))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.statsOf(ctx, names)
}

// Stats are the figures of the queue; only its name if there is none.
func (q *RemoteQueue) Stats(ctx context.Context) (QueueStats, error) {
	if err := CheckName(q.name); err != nil {
		return QueueStats{}, err
	}
	all, err := q.c.statsOf(ctx, []string{q.name})
	if err != nil || len(all) == 0 {
		return QueueStats{Name: q.name}, err
	}
	return all[0], nil
}

// statsOf returns the figures of those queues that are there.
func (c *Client) statsOf(ctx context.Context, names []string) ([]QueueStats, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var commands []byte
	for _, name := range names {
		commands = append(commands, "stats queue "+name+"\r\n"...)
	}
	found := make([]bool, len(names))
	all := make([]QueueStats, len(names))
	err := c.stats(ctx, commands, len(names), func(i int, key, value []byte) error {
		if !found[i] {
			found[i], all[i].Name, all[i].Partial = true, names[i], true // until it says more
		}
		figure := strings.TrimPrefix(string(key), "queue_"+names[i]+"_")
		return all[i].set(figure, value)
	})
	if err != nil {
		return nil, err
	}
	at := -1
	return slices.DeleteFunc(all, func(QueueStats) bool { at++; return !found[at] }), nil
}

// stats sends stats commands; told hears the STATs of each, which is the i-th.
func (c *Client) stats(ctx context.Context, commands []byte, n int, told func(i int, key, value []byte) error) error {
	conn, err := c.conn(ctx)
	if err != nil {
		return err
	}
	x := &exchange{replies: n, values: maxStats}
	i := 0
	x.stat = func(key, value []byte) error {
		return told(i, key, value)
	}
	x.line = func(line []byte) error {
		if i++; string(line)+"\r\n" != replyEnd {
			return errorOf(line)
		}
		return nil
	}
	return conn.do(ctx, c.opt.Timeout, x, func(b []byte) []byte { return append(b, commands...) })
}

// set sets a figure as stats tells it; others are left out.
func (s *QueueStats) set(figure string, value []byte) error {
	n, err := strconv.ParseUint(string(value), 10, 63)
	if err != nil {
		return fmt.Errorf("%w: stats: %s %.40q", ErrServer, figure, value)
	}
	switch figure {
	case "bytes":
		s.Bytes, s.Partial = int64(n), false
	case "total_items":
		s.Put = n
	case "done_items":
		s.Done = n
	case "expired_items":
		s.Expired = n
	case "discarded":
		s.Discarded = n
	case "buried":
		s.Buried = n
	case "duplicates":
		s.Duplicates = n
	case "delayed_items":
		s.Delayed = int(n)
	case "open_transactions":
		s.Leased = int(n)
	case "waiters":
		s.Waiters = int(n)
	case "age_msec":
		s.OldestAge = time.Duration(min(n, 1<<43)) * time.Millisecond
	case "paused":
		s.Paused = n != 0
	}
	return nil
}
