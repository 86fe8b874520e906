package rpc_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-go/heddle/motan"
)

const messagePath = "com.example.MessageService"

// goMessages is a service of protobuf messages as motan-go serves it.
type goMessages struct{}

func (*goMessages) Text(m *wrapperspb.StringValue) *wrapperspb.StringValue { return m }
func (*goMessages) Count(m *wrapperspb.Int64Value) *wrapperspb.Int64Value  { return m }
func (*goMessages) Data(m *wrapperspb.BytesValue) *wrapperspb.BytesValue   { return m }
func (*goMessages) Tree(m *structpb.Struct) *structpb.Struct               { return m }
func (*goMessages) Empty(m *emptypb.Empty) *emptypb.Empty                  { return m }
func (*goMessages) Panic(*emptypb.Empty) *emptypb.Empty                    { panic("boom") }

// heddleMessages serves the same with Heddle and returns its address.
func heddleMessages(t *testing.T, gzipOver int) string {
	t.Helper()
	srv, err := motan.NewServer(&motan.ServerOptions{Logger: slog.New(slog.DiscardHandler), GzipOver: gzipOver})
	if err != nil {
		t.Fatal(err)
	}
	motan.Handle(srv, messagePath, "text", echo[wrapperspb.StringValue])
	motan.Handle(srv, messagePath, "count", echo[wrapperspb.Int64Value])
	motan.Handle(srv, messagePath, "data", echo[wrapperspb.BytesValue])
	motan.Handle(srv, messagePath, "tree", echo[structpb.Struct])
	motan.Handle(srv, messagePath, "empty", echo[emptypb.Empty])
	motan.Handle(srv, messagePath, "panic", func(context.Context, *emptypb.Empty) (*emptypb.Empty, error) { panic("boom") })
	ln := listen(t)
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return ln.Addr().String()
}

// sent is a message for a method that gives it back.
type sent struct {
	method string
	m      proto.Message
	call   func(context.Context, *motan.Client) (proto.Message, error)
}

func send[M any, P interface {
	*M
	proto.Message
}](method string, m P) sent {
	return sent{method, m, func(ctx context.Context, c *motan.Client) (proto.Message, error) {
		got, err := motan.Call[M](ctx, c, method, m)
		return P(got), err
	}}
}

func messages(t *testing.T) []sent {
	t.Helper()
	tree, err := structpb.NewStruct(map[string]any{
		"name": "微博 😀", "list": []any{1.5, true, nil, map[string]any{"deep": []any{}}}, "": "",
	})
	if err != nil {
		t.Fatal(err)
	}
	return []sent{
		send("text", wrapperspb.String("Ray")),
		send("text", wrapperspb.String("")), // an empty body
		send("text", wrapperspb.String(strings.Repeat("long ", 20000))),
		send("count", wrapperspb.Int64(-1<<63)),
		send("data", wrapperspb.Bytes([]byte{0, 0xde, 0xff})),
		send("tree", tree),
		send("empty", &emptypb.Empty{}),
	}
}

// messageForms are the ways in which messages travel: bare, and as one of the values
// of serialization protobuf.
var messageForms = []struct {
	name  string
	ser   motan.Serializer
	gzip  int
	lines []string
}{
	{"grpc-pb", motan.GRPCPb{}, 0, []string{"serialization: grpc-pb"}},
	{"grpc-pb, gzip", motan.GRPCPb{}, 1, []string{"serialization: grpc-pb", "mingzSize: 1"}},
	{"protobuf", motan.Protobuf{}, 0, []string{"serialization: protobuf"}},
}

func TestMotanGoSendsMessagesToHeddle(t *testing.T) {
	for _, f := range messageForms {
		t.Run(f.name, func(t *testing.T) {
			c := motanGoClient(t, heddleMessages(t, f.gzip), messagePath, f.lines...)
			for _, tc := range messages(t) {
				reply := tc.m.ProtoReflect().New().Interface()
				if err := c.Call(tc.method, []any{tc.m}, reply); err != nil {
					t.Errorf("%s: %v", tc.method, err)
				} else if !proto.Equal(reply, tc.m) {
					t.Errorf("%s: %.300v, want %.300v", tc.method, reply, tc.m)
				}
			}
			if err := c.Call("panic", []any{&emptypb.Empty{}}, &emptypb.Empty{}); err == nil || err.Error() != "provider call panic" {
				t.Errorf("panic: %v", err)
			}
		})
	}
}

func TestHeddleSendsMessagesToMotanGo(t *testing.T) {
	for _, f := range messageForms {
		t.Run(f.name, func(t *testing.T) {
			addr := motanGoServer(t, map[string]any{messagePath: &goMessages{}}, f.lines...)
			c := heddleClient(t, addr, messagePath, motan.ClientOptions{Serializer: f.ser, GzipOver: f.gzip})
			for _, tc := range messages(t) {
				if f.ser == (motan.GRPCPb{}) && proto.Size(tc.m) == 0 {
					continue // motan-go takes the empty body for no argument, and panics
				}
				if got, err := tc.call(t.Context(), c); err != nil {
					t.Errorf("%s: %v", tc.method, err)
				} else if !proto.Equal(got, tc.m) {
					t.Errorf("%s: %.300v, want %.300v", tc.method, got, tc.m)
				}
			}
			_, err := motan.Call[emptypb.Empty](t.Context(), c, "panic", &emptypb.Empty{})
			var e *motan.Error
			if !errors.As(err, &e) || e.Code != 500 || e.Type != motan.Service {
				t.Errorf("panic: %v", err)
			}
		})
	}
}

// What grpc-pb has no form for stays with the caller, on either side.
func TestGRPCPbTakesOneMessage(t *testing.T) {
	addr := heddleMessages(t, 0)
	heddle := heddleClient(t, addr, messagePath, motan.ClientOptions{Serializer: motan.GRPCPb{}})
	other := motanGoClient(t, addr, messagePath, "serialization: grpc-pb")
	for _, args := range [][]any{{wrapperspb.String("a"), wrapperspb.String("b")}, {"Ray"}} {
		var e *motan.Error
		if _, err := motan.Call[wrapperspb.StringValue](t.Context(), heddle, "text", motan.Args(args)); !errors.As(err, &e) || e.Code != motan.CodeEncode {
			t.Errorf("%v: Heddle: %v", args, err)
		}
		if err := other.Call("text", args, &wrapperspb.StringValue{}); err == nil {
			t.Errorf("%v: motan-go sent it", args)
		}
	}
}
