package rpc_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/bytedance/gopkg/util/logger"
	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/server"
)

// kitexMessage is the struct that thriftgo generates for one binary field: the
// arguments have it as field 1, the result as field 0.
type kitexMessage struct {
	field   int16
	payload []byte
}

func (m *kitexMessage) BLength() int {
	p := thrift.Binary
	return p.FieldBeginLength() + p.BinaryLengthNocopy(m.payload) + p.FieldStopLength()
}

func (m *kitexMessage) FastWriteNocopy(buf []byte, w thrift.NocopyWriter) int {
	p := thrift.Binary
	n := p.WriteFieldBegin(buf, thrift.STRING, m.field)
	n += p.WriteBinaryNocopy(buf[n:], w, m.payload)
	return n + p.WriteFieldStop(buf[n:])
}

func (m *kitexMessage) FastRead(buf []byte) (int, error) {
	p := thrift.Binary
	at := 0
	for {
		typ, id, n, err := p.ReadFieldBegin(buf[at:])
		if err != nil {
			return at, err
		}
		if at += n; typ == thrift.STOP {
			return at, nil
		}
		if id != m.field || typ != thrift.STRING {
			return at, errors.New("unexpected field")
		}
		if m.payload, n, err = p.ReadBinary(buf[at:]); err != nil {
			return at, err
		}
		at += n
	}
}

// kitexService is what kitex generates for service Echo { binary Echo(1: binary payload) }.
var kitexService = &serviceinfo.ServiceInfo{
	ServiceName:  "Echo",
	HandlerType:  (*any)(nil),
	PayloadCodec: serviceinfo.Thrift,
	Methods: map[string]serviceinfo.MethodInfo{
		"Echo": serviceinfo.NewMethodInfo(
			func(_ context.Context, _, arg, result any) error {
				result.(*kitexMessage).payload = arg.(*kitexMessage).payload
				return nil
			},
			func() any { return &kitexMessage{field: 1} },
			func() any { return &kitexMessage{field: 0} },
			false),
	},
}

func startKitex(t testing.TB) func([]byte) ([]byte, error) {
	klog.SetOutput(io.Discard)
	logger.SetLevel(logger.LevelFatal) // its multiplexed client panics, and recovers, when the server leaves
	ln := listen(t)
	stop := make(chan error)
	srv := server.NewServer(
		server.WithListener(ln), server.WithMuxTransport(), server.WithExitSignal(func() <-chan error { return stop }),
		server.WithServerBasicInfo(&rpcinfo.EndpointBasicInfo{ServiceName: "Echo"}))
	if err := srv.RegisterService(kitexService, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Run()
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
	})
	c, err := client.NewClient(kitexService,
		client.WithDestService("Echo"), client.WithHostPorts(ln.Addr().String()),
		client.WithMuxConnection(connections), client.WithRPCTimeout(deadline))
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := c.(io.Closer); ok {
		t.Cleanup(func() { c.Close() }) // before the server, whose farewell it cannot read
	}
	return func(payload []byte) ([]byte, error) {
		arg, result := &kitexMessage{field: 1, payload: payload}, &kitexMessage{field: 0}
		err := c.Call(context.Background(), "Echo", arg, result)
		return result.payload, err
	}
}
