package mcq_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// A connection that times out while its replies come in belongs to its reader until
// that has ended: run with the race detector.
func TestTimeoutAmongReplies(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { // a server that is slower and slower, and stores nothing
				defer conn.Close()
				lines := bufio.NewReader(conn)
				for n := 1; ; {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					if strings.HasPrefix(line, "eset ") {
						if n++; n%50 == 0 {
							time.Sleep(100 * time.Microsecond)
						}
						io.WriteString(conn, "NOT_STORED\r\n")
					}
				}
			}()
		}
	}()
	msgs := make([]mcq.Message, 400)
	for i := range msgs {
		msgs[i].Body = []byte("x")
	}
	var all sync.WaitGroup
	for range 8 {
		msgs := slices.Clone(msgs)
		all.Go(func() {
			for i := range 60 {
				c, err := mcq.Dial(ln.Addr().String(), &mcq.ClientOptions{Timeout: time.Duration(1+i%4) * time.Millisecond})
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Queue("q").Put(context.Background(), msgs...); !errors.Is(err, mcq.ErrFull) && !errors.Is(err, mcq.ErrConnection) {
					t.Error(err)
				}
				c.Close()
			}
		})
	}
	all.Wait()
}
