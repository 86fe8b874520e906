package rpc_test

import (
	"context"
	"net/rpc"
	"sync/atomic"
	"testing"
	"time"
)

// NetRPC is registered with net/rpc.
type NetRPC struct{}

func (NetRPC) Echo(payload []byte, reply *[]byte) error {
	*reply = payload
	return nil
}

// startNetRPC runs net/rpc. It knows no deadlines: its caller has to wait for
// the answer and a timer.
func startNetRPC(t testing.TB) func([]byte) ([]byte, error) {
	srv := rpc.NewServer()
	if err := srv.RegisterName("Bench", NetRPC{}); err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // the listener is closed
			}
			go srv.ServeConn(conn)
		}
	}()
	var clients [connections]*rpc.Client
	for i := range clients {
		c, err := rpc.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		clients[i] = c
	}
	var turn atomic.Uint32
	return func(payload []byte) ([]byte, error) {
		var reply []byte
		call := clients[turn.Add(1)%connections].Go("Bench.Echo", payload, &reply, make(chan *rpc.Call, 1))
		timer := time.NewTimer(deadline)
		defer timer.Stop()
		select {
		case <-call.Done:
			return reply, call.Error
		case <-timer.C:
			return nil, context.DeadlineExceeded
		}
	}
}
