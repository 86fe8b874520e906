package flush_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/internal/flush"
)

// Messages of many goroutines arrive whole, each goroutine's in its order.
func TestMessagesStayWhole(t *testing.T) {
	ours, theirs := net.Pipe()
	w := flush.NewWriter(ours, 1<<10, time.Minute, nil)
	const senders, each = 8, 500
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				msg := binary.BigEndian.AppendUint32([]byte{byte(s)}, uint32(i))
				var err error
				switch i % 3 {
				case 0:
					err = w.Append(func(b []byte) []byte { return append(b, msg...) })
				case 1:
					_, err = w.Write(msg)
				default:
					w.Push(msg)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		wg.Wait()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		ours.Close()
	}()
	got, err := io.ReadAll(theirs)
	if err != nil || len(got) != senders*each*5 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	var next [senders]uint32
	for ; len(got) > 0; got = got[5:] {
		if n := binary.BigEndian.Uint32(got[1:]); n != next[got[0]] {
			t.Fatalf("sender %d: %d, want %d", got[0], n, next[got[0]])
		}
		next[got[0]]++
	}
}

// Senders wait while the peer does not read, and get its end.
func TestSlowPeer(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	failed := make(chan error, 2)
	w := flush.NewWriter(ours, 100, 50*time.Millisecond, func(err error) {
		ours.Close()
		failed <- err
	})
	var err error
	for range 100 {
		if _, err = w.Write(make([]byte, 50)); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the last write: %v", err)
	}
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("failed got %v", err)
	}
	if err := w.Append(func(b []byte) []byte { t.Error("appended"); return b }); err == nil {
		t.Error("append after the failure")
	}
	w.Push([]byte("x")) // goes nowhere
	if err := w.Close(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	if len(failed) != 0 {
		t.Error("failed was called twice")
	}
}

func TestClose(t *testing.T) {
	ours, theirs := net.Pipe()
	w := flush.NewWriter(ours, 100, time.Minute, nil)
	got := make(chan []byte, 1)
	go func() {
		data, _ := io.ReadAll(theirs)
		got <- data
	}()
	w.Push([]byte("last words"))
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, flush.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
	ours.Close()
	if data := <-got; !bytes.Equal(data, []byte("last words")) {
		t.Errorf("got %q", data)
	}
}

// Room lets nobody pass while too much waits.
func TestRoom(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	w := flush.NewWriter(ours, 100, time.Minute, nil)
	w.Room()
	w.Push([]byte("x")) // the pipe takes nothing until it is read
	w.Push(make([]byte, 1000))
	w.Push(make([]byte, 1000))
	passed := make(chan struct{})
	go func() {
		w.Room()
		close(passed)
	}()
	if _, err := io.ReadFull(theirs, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, theirs)
	<-passed
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	w.Room() // closed: does not wait
}
