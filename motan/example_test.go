package motan_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/heddle-go/heddle/motan"
)

func hello(_ context.Context, name *string) (*string, error) {
	answer := "hello " + *name
	return &answer, nil
}

func Example() {
	srv, _ := motan.NewServer(nil)
	defer srv.Close()
	motan.Handle(srv, "com.example.Greeter", "hello", hello)
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	go srv.Serve(ln)
	client, _ := motan.NewClient("com.example.Greeter", motan.Static(ln.Addr().String()), nil)
	defer client.Close()
	answer, err := motan.Call[string](context.Background(), client, "hello", "Ray")
	fmt.Println(*answer, err)
	// Output: hello Ray <nil>
}

// Shop is a provider: Register makes each of its methods callable.
type Shop struct{}

type Order struct {
	Item  string  `motan:"item"`
	Price float64 `motan:"price"`
}

func (Shop) Price(_ context.Context, item string, count int64) (*Order, error) {
	if count <= 0 {
		return nil, &motan.Error{Code: 4001, Type: motan.Business, Message: "how many?"}
	}
	return &Order{item, 2.5 * float64(count)}, nil
}

func ExampleServer_Register() {
	srv, _ := motan.NewServer(nil)
	srv.Register("com.example.Shop", Shop{})
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	go srv.Serve(ln)
	defer srv.Shutdown(context.Background())

	client, _ := motan.NewClient("com.example.Shop", motan.Static(ln.Addr().String()), nil)
	defer client.Close()
	order, _ := motan.Call[Order](context.Background(), client, "price", motan.Args{"tea", int64(4)})
	fmt.Println(*order)
	_, err := motan.Call[Order](context.Background(), client, "price", motan.Args{"tea", int64(0)})
	var e *motan.Error
	fmt.Println(errors.As(err, &e), e.Code, e.Message)
	// Output:
	// {tea 10}
	// true 4001 how many?
}

// A client of two nodes that tries the other one when the first is busy or gone,
// and after 50 ms without an answer for the methods that may be done twice.
func ExampleClientOptions() {
	client, err := motan.NewClient("com.example.Users", motan.Static("10.0.0.1:8100", "10.0.0.2:8100"), &motan.ClientOptions{
		HA:          motan.Backup,
		Balance:     motan.LeastInFlight,
		Idempotent:  []string{"show", "timeline"},
		BackupAfter: 50 * time.Millisecond,
		Timeout:     300 * time.Millisecond,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(client.Stats().Calls)
	client.Close()
	// Output: 0
}

func ExampleInterceptor() {
	timed := func(next motan.Invoker) motan.Invoker {
		return func(ctx context.Context, x *motan.Exchange) error {
			err := next(ctx, x)
			fmt.Printf("%s/%s: %v\n", x.Service, x.Method, err)
			return err
		}
	}
	srv, _ := motan.NewServer(&motan.ServerOptions{Interceptors: []motan.Interceptor{timed}})
	motan.Handle(srv, "s", "double", func(_ context.Context, n *int64) (*int64, error) {
		twice := 2 * *n
		return &twice, nil
	})
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	go srv.Serve(ln)
	defer srv.Close()
	client, _ := motan.NewClient("s", motan.Static(ln.Addr().String()), nil)
	defer client.Close()
	n, _ := motan.Call[int64](context.Background(), client, "double", int64(21))
	fmt.Println(*n)
	// Output:
	// s/double: <nil>
	// 42
}

func ExampleWithMetadata() {
	srv, _ := motan.NewServer(nil)
	motan.Handle(srv, "s", "who", func(ctx context.Context, _ *string) (*string, error) {
		in, _ := motan.IncomingCall(ctx)
		tenant := in.Metadata.Get("tenant")
		motan.Reply(ctx, "served-by", "node-1")
		return &tenant, nil
	})
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	go srv.Serve(ln)
	defer srv.Close()
	client, _ := motan.NewClient("s", motan.Static(ln.Addr().String()), nil)
	defer client.Close()
	var reply motan.Metadata
	ctx := motan.WithReply(motan.WithMetadata(context.Background(), "tenant", "acme"), &reply)
	tenant, _ := motan.Call[string](ctx, client, "who", "")
	fmt.Println(*tenant, reply.Get("served-by"))
	// Output: acme node-1
}
