package rpc_test

import (
	"fmt"
	"testing"
)

func startMotanGo(t testing.TB) func([]byte) ([]byte, error) {
	addr := motanGoServer(t, map[string]any{echoPath: &goEcho{}})
	c := motanGoClient(t, addr, echoPath,
		fmt.Sprintf("clientConnection: \"%d\"", connections), fmt.Sprintf("requestTimeout: %d", deadline.Milliseconds()))
	return func(payload []byte) ([]byte, error) {
		var reply []byte
		err := c.Call("bytes", []any{payload}, &reply)
		return reply, err
	}
}
