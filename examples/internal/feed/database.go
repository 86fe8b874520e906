package feed

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"path/filepath"
)

// Database is the store of record. Implementations are safe for concurrent use.
type Database interface {
	// Add stores statuses in one durable transaction. Storing a status again, or a
	// second one under the same user's idempotency key, changes no timeline: the
	// queue may deliver a message twice and a client may send a post twice. Keys are
	// remembered for half a million posts at least. It returns how many are new.
	Add(ctx context.Context, statuses []Status) (added int, err error)

	// Show returns the status with the given id, or the one it stands for.
	Show(ctx context.Context, id int64) (s Status, ok bool, err error)

	// Timeline returns up to count of a user's statuses, newest first, with ids
	// up to maxID (0: no bound).
	Timeline(ctx context.Context, uid, maxID int64, count int) ([]Status, error)

	Close() error
}

// openDatabase opens the database that cfg names: Pebble in the data directory,
// or a MySQL server.
func openDatabase(cfg Config) (Database, error) {
	if cfg.DB == "" {
		return openPebble(filepath.Join(cfg.Data, "database"))
	}
	return openMySQL(cfg.DB)
}

// keyDigest is what a user's idempotency key is known by.
func keyDigest(uid int64, key string) (d [16]byte) {
	buf := make([]byte, 0, 128)
	buf = append(binary.BigEndian.AppendUint64(buf, uint64(uid)), key...)
	sum := sha256.Sum256(buf)
	copy(d[:], sum[:])
	return d
}
