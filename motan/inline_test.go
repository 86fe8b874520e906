package motan

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// A handler that has proved quick, and then is not, does not keep the requests
// behind it on the same connection waiting.
func TestQuickHandlerThatBlocks(t *testing.T) {
	srv, err := NewServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	block := make(chan struct{})
	release := sync.OnceFunc(func() { close(block) })
	Handle(srv, "s", "m", func(_ context.Context, s *string) (*string, error) {
		if *s == "block" {
			<-block
		}
		return s, nil
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	c, err := NewClient("s", Static(ln.Addr().String()), &ClientOptions{Timeout: 30 * time.Second, Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		release()
		c.Close()
		srv.Close()
	})
	call := func(arg string) {
		t.Helper()
		if s, err := Call[string](t.Context(), c, "m", &arg); err != nil || *s != arg {
			t.Fatalf("%v, %v", s, err)
		}
	}
	// How quick it really is depends on the machine.
	quick := func() {
		p := &srv.services["s"].methods["m"].pace
		p.need.Store(0)
		p.run.Store(paceFirst)
	}
	call("x")
	var blocked []*Future[string]
	for i := range 3 {
		quick()
		before := srv.Stats().Inline
		blocked = append(blocked, Go[string](t.Context(), c, "m", "block"))
		for srv.Stats().Inline == before {
			time.Sleep(time.Millisecond)
		}
		for range 50 {
			call("behind")
		}
		for end := time.Now().Add(20 * time.Second); srv.Stats().InFlight != int64(i+1); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d calls in flight, want %d", srv.Stats().InFlight, i+1)
			}
		}
	}
	release()
	for _, f := range blocked {
		if s, err := f.Wait(); err != nil || *s != "block" {
			t.Errorf("%v, %v", s, err)
		}
	}
	if n := srv.services["s"].methods["m"].pace.needed(); n == paceFirst {
		t.Error("that others had to wait is forgotten")
	}
	// Answers go to those who asked, from whichever goroutine.
	quick()
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			for i := range 100 {
				want := fmt.Sprint(g, "/", i)
				if s, err := Call[string](t.Context(), c, "m", &want); err != nil || *s != want {
					t.Errorf("%v, %v, want %q", s, err, want)
				}
			}
		})
	}
	wg.Wait()
}

// A quick handler that panics is answered like any other, and the connection
// goes on.
func TestQuickHandlerThatPanics(t *testing.T) {
	srv, err := NewServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	Handle(srv, "s", "m", func(_ context.Context, s *string) (*string, error) { return s, nil })
	Handle(srv, "s", "panic", func(context.Context, *string) (*string, error) { panic("on purpose") })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	c, err := NewClient("s", Static(ln.Addr().String()), &ClientOptions{Timeout: 30 * time.Second, Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 10 {
		p := &srv.services["s"].methods["panic"].pace
		p.need.Store(0) // a busy machine may have had others wait for it
		p.run.Store(paceFirst)
		if _, err := Call[string](t.Context(), c, "panic", ""); err == nil || err.Error() != "motan: service error 500: provider call panic" {
			t.Errorf("%v", err)
		}
		if s, err := Call[string](t.Context(), c, "m", "x"); err != nil || *s != "x" {
			t.Errorf("%v, %v", s, err)
		}
	}
	if n := srv.Stats().Inline; n < 10 {
		t.Errorf("%d calls on the reading goroutine", n)
	}
}
