package rpc_test

import (
	"net"
	"testing"

	"github.com/lesismal/arpc"
	arpclog "github.com/lesismal/arpc/log"
)

func startARPC(t testing.TB) func([]byte) ([]byte, error) {
	arpclog.SetLevel(arpclog.LevelNone)
	srv := arpc.NewServer()
	srv.Handler.Handle("/echo", func(ctx *arpc.Context) {
		var payload []byte
		if err := ctx.Bind(&payload); err == nil {
			ctx.Write(payload)
		}
	})
	ln := listen(t)
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Stop() })
	pool, err := arpc.NewClientPool(func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) }, connections)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Stop)
	return func(payload []byte) ([]byte, error) {
		var reply []byte
		err := pool.Next().Call("/echo", payload, &reply, deadline)
		return reply, err
	}
}
