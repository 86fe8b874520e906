package mcq

import (
	"bytes"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// cuts are the keys at which a table ends and the next begins. Pebble would put all
// that it has in memory into a table, one end of which is what a queue has consumed, or
// its cursor, and the other what was put last. Such tables lie over each other, and
// over all that is between: it is read through all of them, and they are written again
// to be put in order. Cut, the tables of records follow each other, and are written once.
type cuts struct {
	from int                      // how many bytes of records are worth a table
	keys atomic.Pointer[[][]byte] // sorted

	// The committer's own:
	logs []*messageLog // that got enough since the last cut to have tables of their own
}

const (
	cutFrom = 1 << 20

	// cutMost is how many logs get tables of their own at a time. Each table takes an
	// fsync, and who puts may have to wait for all of them.
	cutMost = 64
)

// count notes that a log gets so many bytes.
func (c *cuts) count(l *messageLog, n int) {
	before := l.uncut
	if l.uncut += n; before < c.from && l.uncut >= c.from {
		c.logs = append(c.logs, l)
	}
}

// set has what Pebble has in memory cut, which it is about to write to tables.
func (c *cuts) set() {
	var keys [][]byte
	if len(c.logs) > 0 {
		keys = append(keys, []byte{prefixRecord}, []byte{prefixRecord + 1})
	}
	n := min(len(c.logs), cutMost)
	for _, l := range c.logs[:n] {
		keys = append(keys, recordKey(l.id, 0), recordKey(l.id, l.trimmed), logEnd(l.id))
		l.uncut = 0
	}
	c.logs = slices.Delete(c.logs, 0, n)
	slices.SortFunc(keys, bytes.Compare)
	c.keys.Store(&keys)
}

// policy is asked by Pebble where the table ends that begins with a key.
func (c *cuts) policy(start []byte) (policy pebble.SpanPolicy, end []byte, err error) {
	keys := c.keys.Load()
	if keys == nil {
		return policy, nil, nil
	}
	i, found := slices.BinarySearchFunc(*keys, start, bytes.Compare)
	for found && i < len(*keys) && bytes.Equal((*keys)[i], start) {
		i++
	}
	if i < len(*keys) {
		end = (*keys)[i]
	}
	return policy, end, nil
}
