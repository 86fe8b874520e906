package rpc_test

import (
	"context"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// grpcService is what protoc would generate for
// service Echo { rpc Echo(google.protobuf.BytesValue) returns (google.protobuf.BytesValue); }
var grpcService = grpc.ServiceDesc{
	ServiceName: "bench.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Echo",
		Handler: func(_ any, ctx context.Context, dec func(any) error, ic grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.BytesValue)
			if err := dec(in); err != nil {
				return nil, err
			}
			return in, nil
		},
	}},
}

func startGRPC(t testing.TB) func([]byte) ([]byte, error) {
	srv := grpc.NewServer()
	srv.RegisterService(&grpcService, struct{}{})
	ln := listen(t)
	go srv.Serve(ln)
	t.Cleanup(srv.Stop)
	var conns [connections]*grpc.ClientConn
	for i := range conns {
		c, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns[i] = c
	}
	var turn atomic.Uint32
	return func(payload []byte) ([]byte, error) {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		reply := new(wrapperspb.BytesValue)
		err := conns[turn.Add(1)%connections].Invoke(ctx, "/bench.Echo/Echo", wrapperspb.Bytes(payload), reply)
		return reply.GetValue(), err
	}
}
