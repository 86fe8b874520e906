package rpc_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/smallnest/rpcx/client"
	rpcxlog "github.com/smallnest/rpcx/log"
	"github.com/smallnest/rpcx/protocol"
	"github.com/smallnest/rpcx/server"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// RPCX is registered with rpcx.
type RPCX struct{}

func (RPCX) Echo(_ context.Context, in, out *wrapperspb.BytesValue) error {
	out.Value = in.Value
	return nil
}

func startRPCX(t testing.TB) func([]byte) ([]byte, error) {
	rpcxlog.SetDummyLogger()
	srv := server.NewServer()
	if err := srv.RegisterName("Bench", RPCX{}, ""); err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	go srv.ServeListener("tcp", ln)
	t.Cleanup(func() { srv.Close() })
	opt := client.DefaultOption
	opt.SerializeType = protocol.ProtoBuffer
	var clients [connections]*client.Client
	for i := range clients {
		c := client.NewClient(opt)
		if err := c.Connect("tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		clients[i] = c
	}
	var turn atomic.Uint32
	return func(payload []byte) ([]byte, error) {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		reply := new(wrapperspb.BytesValue)
		err := clients[turn.Add(1)%connections].Call(ctx, "Bench", "Echo", wrapperspb.Bytes(payload), reply)
		return reply.GetValue(), err
	}
}
