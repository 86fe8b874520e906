package main

import (
	"fmt"
	"strings"

	"github.com/heddle-go/heddle/mcq"
)

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// label escapes a label's value as Prometheus reads it, which is not as Go does.
func label(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(s, "\uFFFD"))
}

// metrics is the figures in the text format of Prometheus.
func metrics(b mcq.Stats, s mcq.ServerStats) string {
	var out strings.Builder
	family := func(name, kind, help string) {
		fmt.Fprintf(&out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	}
	for _, m := range []struct {
		name, kind, help string
		value            func(q *mcq.QueueStats) any
	}{
		{"mcq_put_total", "counter", "Messages ever put.", func(q *mcq.QueueStats) any { return q.Put }},
		{"mcq_done_total", "counter", "Messages acknowledged, taken or dropped.", func(q *mcq.QueueStats) any { return q.Done }},
		{"mcq_backlog", "gauge", "Messages in the queue.", func(q *mcq.QueueStats) any { return q.Backlog() }},
		{"mcq_leased", "gauge", "Messages handed out and not acknowledged.", func(q *mcq.QueueStats) any { return q.Leased }},
		{"mcq_delayed", "gauge", "Messages that wait for their time.", func(q *mcq.QueueStats) any { return q.Delayed }},
		{"mcq_paused", "gauge", "1 while no messages are handed out.", func(q *mcq.QueueStats) any { return oneIf(q.Paused) }},
		{"mcq_waiters", "gauge", "Readers that wait for messages.", func(q *mcq.QueueStats) any { return q.Waiters }},
		{"mcq_expired_total", "counter", "Messages dropped for their age.", func(q *mcq.QueueStats) any { return q.Expired }},
		{"mcq_discarded_total", "counter", "Messages dropped to make room.", func(q *mcq.QueueStats) any { return q.Discarded }},
		{"mcq_buried_total", "counter", "Messages moved to the dead letters, or dropped for want of them.", func(q *mcq.QueueStats) any { return q.Buried }},
		{"mcq_duplicates_total", "counter", "Messages put again, and not stored.", func(q *mcq.QueueStats) any { return q.Duplicates }},
		{"mcq_oldest_age_seconds", "gauge", "How long ago the first message was put that is not acknowledged.", func(q *mcq.QueueStats) any { return q.OldestAge.Seconds() }},
	} {
		family(m.name, m.kind, m.help)
		for i := range b.Queues {
			fmt.Fprintf(&out, "%s{queue=\"%s\"} %v\n", m.name, label(b.Queues[i].Name), m.value(&b.Queues[i]))
		}
	}
	for _, m := range []struct {
		name, kind, help string
		value            any
	}{
		{"mcq_groups_total", "counter", "Batches committed.", b.Groups},
		{"mcq_disk_full", "gauge", "1 while nothing can be put for want of space.", oneIf(b.Full)},
		{"mcq_failed", "gauge", "1 once the store must be opened again.", oneIf(b.Failed != "")},
		{"mcq_connections", "gauge", "Connections now.", s.Conns},
		{"mcq_errors_total", "counter", "Commands answered with an error.", s.Errors},
	} {
		family(m.name, m.kind, m.help)
		fmt.Fprintf(&out, "%s %v\n", m.name, m.value)
	}
	return out.String()
}
