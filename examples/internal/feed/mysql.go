package feed

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// mysqlTime bounds one transaction or query.
const mysqlTime = 30 * time.Second

// mysqlSchema is the Pebble layout as tables; see PebbleDatabase.
var mysqlSchema = [...]string{
	`CREATE TABLE IF NOT EXISTS statuses (
		uid BIGINT NOT NULL, id BIGINT NOT NULL, created_at BIGINT NOT NULL,
		text TEXT NOT NULL, media VARCHAR(64) NOT NULL, idempotency_key VARCHAR(255) NOT NULL,
		PRIMARY KEY (uid, id), UNIQUE KEY (id)) ENGINE=InnoDB CHARACTER SET utf8mb4`,
	`CREATE TABLE IF NOT EXISTS firsts (digest BINARY(16) PRIMARY KEY, id BIGINT NOT NULL) ENGINE=InnoDB`,
	`CREATE TABLE IF NOT EXISTS aliases (id BIGINT PRIMARY KEY, first BIGINT NOT NULL) ENGINE=InnoDB`,
}

// mysqlDatabase is the store of record in MySQL or MariaDB.
type mysqlDatabase struct {
	db   *sql.DB
	name string // of the database and its server, without the password
}

// openMySQL connects to mysql://user:password@host:port/database and makes the
// tables that are missing.
func openMySQL(address string) (*mysqlDatabase, error) {
	cfg, err := parseMySQL(address)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("feed: -db: %w", err)
	}
	d := &mysqlDatabase{db: sql.OpenDB(connector), name: "mysql://" + cfg.Addr + "/" + cfg.DBName}
	d.db.SetMaxOpenConns(16)
	d.db.SetMaxIdleConns(16)
	ctx, cancel := context.WithTimeout(context.Background(), mysqlTime)
	defer cancel()
	for _, table := range mysqlSchema {
		if _, err := d.db.ExecContext(ctx, table); err != nil {
			return nil, errors.Join(d.failed("create tables", err), d.db.Close())
		}
	}
	return d, nil
}

// parseMySQL checks the address; its errors do not repeat it, for it holds a password.
func parseMySQL(address string) (*mysql.Config, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "mysql" {
		return nil, errors.New("feed: -db: want mysql://user:password@host:port/database")
	}
	name := strings.TrimPrefix(u.Path, "/")
	if u.Host == "" || u.Port() == "" || name == "" || strings.Contains(name, "/") || u.User.Username() == "" || u.RawQuery != "" {
		return nil, errors.New("feed: -db: want a user, host:port and a database, mysql://user:password@host:port/database")
	}
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.DBName, cfg.User = "tcp", u.Host, name, u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = 5*time.Second, mysqlTime, mysqlTime
	cfg.InterpolateParams = true // one round trip a statement
	return cfg, nil
}

func (d *mysqlDatabase) failed(what string, err error) error {
	return fmt.Errorf("feed: database %s: %s: %w", d.name, what, err)
}

// Close implements Database.
func (d *mysqlDatabase) Close() error { return d.db.Close() }

// mysqlAttempts bounds how often a transaction that another one deadlocked is run.
const mysqlAttempts = 5

// Add implements Database.
func (d *mysqlDatabase) Add(ctx context.Context, statuses []Status) (added int, err error) {
	if len(statuses) == 0 {
		return 0, nil
	}
	for try := 1; ; try++ {
		added, err = d.add(ctx, statuses)
		var e *mysql.MySQLError
		if !errors.As(err, &e) || e.Number != 1213 || try == mysqlAttempts { // ER_LOCK_DEADLOCK
			break
		}
	}
	if err != nil {
		return 0, d.failed(fmt.Sprintf("transaction of %d statuses", len(statuses)), err)
	}
	return added, nil
}

func (d *mysqlDatabase) add(ctx context.Context, statuses []Status) (added int, err error) {
	ctx, cancel := context.WithTimeout(ctx, mysqlTime)
	defer cancel()
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // does nothing after Commit

	firsts, err := claimKeys(ctx, tx, statuses)
	if err != nil {
		return 0, err
	}
	var fresh, aliases []any
	for i := range statuses {
		s := &statuses[i]
		if s.Key != "" {
			if first := firsts[keyDigest(s.UID, s.Key)]; first != s.ID {
				aliases = append(aliases, s.ID, first)
				continue
			}
		}
		fresh = append(fresh, s.UID, s.ID, s.CreatedAt, s.Text, s.Media, s.Key)
	}
	n, err := insert(ctx, tx, "statuses (uid, id, created_at, text, media, idempotency_key)", 6, fresh)
	if err != nil {
		return 0, err
	}
	if _, err := insert(ctx, tx, "aliases (id, first)", 2, aliases); err != nil {
		return 0, err
	}
	return int(n), tx.Commit()
}

// claimKeys makes each status the first under its idempotency key unless there
// is one, and returns the first of every key.
func claimKeys(ctx context.Context, tx *sql.Tx, statuses []Status) (map[[16]byte]int64, error) {
	var claims, digests []any
	for i := range statuses {
		if s := &statuses[i]; s.Key != "" {
			digest := keyDigest(s.UID, s.Key)
			claims = append(claims, digest[:], s.ID)
			digests = append(digests, digest[:])
		}
	}
	if len(claims) == 0 {
		return nil, nil
	}
	if _, err := insert(ctx, tx, "firsts (digest, id)", 2, claims); err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, "SELECT digest, id FROM firsts WHERE digest IN "+places(len(digests)), digests...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	firsts := make(map[[16]byte]int64, len(digests))
	for rows.Next() {
		var digest []byte
		var id int64
		if err := rows.Scan(&digest, &id); err != nil {
			return nil, err
		}
		firsts[[16]byte(digest)] = id
	}
	return firsts, rows.Err()
}

// insert adds rows of so many columns, leaving those that exist as they are,
// and returns how many it added.
func insert(ctx context.Context, tx *sql.Tx, into string, columns int, values []any) (int64, error) {
	if len(values) == 0 {
		return 0, nil
	}
	row := places(columns)
	query := "INSERT IGNORE INTO " + into + " VALUES " + row + strings.Repeat(","+row, len(values)/columns-1)
	res, err := tx.ExecContext(ctx, query, values...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// places is "(?,?,?)" with n marks.
func places(n int) string { return "(?" + strings.Repeat(",?", n-1) + ")" }

const statusColumns = "SELECT id, uid, created_at, text, media, idempotency_key FROM statuses "

func scanStatus(row interface{ Scan(...any) error }) (s Status, err error) {
	err = row.Scan(&s.ID, &s.UID, &s.CreatedAt, &s.Text, &s.Media, &s.Key)
	return s, err
}

// Show implements Database.
func (d *mysqlDatabase) Show(ctx context.Context, id int64) (Status, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, mysqlTime)
	defer cancel()
	s, err := scanStatus(d.db.QueryRowContext(ctx,
		statusColumns+"WHERE id = ? OR id = (SELECT first FROM aliases WHERE id = ?)", id, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Status{}, false, nil
	}
	if err != nil {
		return Status{}, false, d.failed(fmt.Sprintf("status %d", id), err)
	}
	return s, true, nil
}

// Timeline implements Database.
func (d *mysqlDatabase) Timeline(ctx context.Context, uid, maxID int64, count int) ([]Status, error) {
	ctx, cancel := context.WithTimeout(ctx, mysqlTime)
	defer cancel()
	if maxID == 0 {
		maxID = 1<<63 - 1
	}
	rows, err := d.db.QueryContext(ctx, statusColumns+"WHERE uid = ? AND id <= ? ORDER BY id DESC LIMIT ?", uid, maxID, count)
	if err != nil {
		return nil, d.failed(fmt.Sprintf("timeline of %d", uid), err)
	}
	defer rows.Close()
	list := make([]Status, 0, min(count, 32))
	for rows.Next() {
		s, err := scanStatus(rows)
		if err != nil {
			return nil, d.failed(fmt.Sprintf("timeline of %d", uid), err)
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		return nil, d.failed(fmt.Sprintf("timeline of %d", uid), err)
	}
	return list, nil
}
