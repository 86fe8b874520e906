package objstore

import (
	"bytes"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// frontier knows the last record of each type, so that a new one behind it, as
// every new number is, need not be looked for.
//
// A Commit passes its key before the row can be seen, and with the key's stripe
// locked: who asks for the same key later finds it at or before the frontier.
type frontier struct {
	mu     sync.Mutex
	groups map[[frontierPrefix]byte]*lastKey
}

type lastKey struct {
	known bool   // key is at or behind all that were there when it was looked for
	key   []byte // the last that is there or was passed
}

const (
	frontierPrefix = 1 + 4 + 1 // a record's key without the number

	// maxFrontier bounds the groups; keys of further ones are looked for.
	maxFrontier = 4096
)

// groupLocked returns a key's group, made if there is room.
func (f *frontier) groupLocked(key []byte) *lastKey {
	if len(key) <= frontierPrefix || key[0] != prefixRecord {
		return nil
	}
	prefix := [frontierPrefix]byte(key)
	g := f.groups[prefix]
	if g == nil && len(f.groups) < maxFrontier {
		if f.groups == nil {
			f.groups = make(map[[frontierPrefix]byte]*lastKey)
		}
		g = new(lastKey)
		f.groups[prefix] = g
	}
	return g
}

// pass notes that key is going to be written. It tells whether the key is known
// to be behind all others of its group.
func (f *frontier) pass(db *pebble.DB, key []byte) (behind bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groupLocked(key)
	if g == nil {
		return false, nil
	}
	if !g.known {
		// Once for each type, and held on purpose: all who wait want the same.
		if err := g.find(db, key[:frontierPrefix]); err != nil {
			return false, err
		}
	}
	if bytes.Compare(key, g.key) <= 0 {
		return false, nil
	}
	g.key = append(g.key[:0], key...)
	return true, nil
}

// find looks for the last key of a group.
func (g *lastKey) find(db *pebble.DB, prefix []byte) error {
	upper := append(bytes.Clone(prefix), bytes.Repeat([]byte{255}, MaxKey)...)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: upper})
	if err != nil {
		return err
	}
	if it.Last() && bytes.Compare(it.Key(), g.key) > 0 {
		g.key = append(g.key[:0], it.Key()...)
	}
	err = it.Close() // returns what ended the search, too
	g.known = err == nil
	return err
}
