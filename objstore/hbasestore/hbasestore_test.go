package hbasestore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/hbasestore"
	"github.com/heddle-go/heddle/objstore/objstoretest"
)

var ctx = context.Background()

// table is the table of this run. Making one takes HBase seconds: tests share
// it, and empty it.
var table = "heddle_test_" + strings.ToLower(rand.Text()[:10])

// opened tells that there is a table.
var opened atomic.Bool

func TestMain(m *testing.M) {
	code := m.Run()
	if opened.Load() {
		if err := drop(os.Getenv("HEDDLE_TEST_HBASE")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func drop(addr string) error {
	s, err := hbasestore.Open(ctx, []string{addr}, &hbasestore.Options{Table: table, Salts: 3})
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Drop(ctx)
}

// gateway is the address of a gateway.
func gateway(t testing.TB) string {
	addr := os.Getenv("HEDDLE_TEST_HBASE")
	if addr == "" {
		t.Skip("HEDDLE_TEST_HBASE=host:port of a Thrift2 gateway is not set; peers/hbase starts one")
	}
	return addr
}

// open returns a store whose table is empty.
func open(t testing.TB, opts hbasestore.Options, addrs ...string) *hbasestore.Store {
	t.Helper()
	if len(addrs) == 0 {
		addrs = []string{gateway(t)}
	}
	opts.Table, opts.Salts = table, 3
	opened.Store(true)
	if opts.Timeout == 0 {
		opts.Timeout = 2 * time.Minute
	}
	s, err := hbasestore.Open(ctx, addrs, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var all objstore.Change
	err = s.Scan(ctx, objstore.Range{}, func(row objstore.Row) error {
		all.Delete = append(all.Delete, row.Key)
		return nil
	})
	if err == nil {
		err = s.Commit(ctx, []objstore.Change{all})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	gateway(t)
	objstoretest.TestStore(t, func(t *testing.T) objstore.Store { return open(t, hbasestore.Options{}) })
}

func TestOptions(t *testing.T) {
	_, err := hbasestore.Open(ctx, []string{"nowhere"}, &hbasestore.Options{Table: "no table", Salts: 129, Conns: -1, Timeout: -1, MaxMessage: 1})
	for _, want := range []string{"nowhere", `Table "no table"`, "Salts 129", "Conns -1", "Timeout", "MaxMessage 1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in %v", want, err)
		}
	}
	if _, err := hbasestore.Open(ctx, nil, nil); err == nil {
		t.Error("no gateway")
	}
}

// Nobody listens: the error says where and what, when the time is up.
func TestNoGateway(t *testing.T) {
	_, err := hbasestore.Open(ctx, []string{"127.0.0.1:1"}, &hbasestore.Options{Timeout: 100 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Error(err)
	}
}
