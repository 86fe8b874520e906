package motan_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/motan"
)

// What is nil and must not be is told where it is given, and by its name.
func TestWhatIsMissingIsNamed(t *testing.T) {
	pass := func(next motan.Invoker) motan.Invoker { return next }
	none := func(motan.Invoker) motan.Invoker { return nil }
	static := motan.Static("127.0.0.1:1")
	client := func(reg motan.Registry, its ...motan.Interceptor) error {
		c, err := motan.NewClient("s", reg, &motan.ClientOptions{Interceptors: its})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = motan.Call[string](t.Context(), c, "m", "x")
		return err
	}
	server := func(its ...motan.Interceptor) *motan.Server {
		return newServer(t, &motan.ServerOptions{Interceptors: its})
	}
	for want, do := range map[string]func() error{
		"motan: ClientOptions.Interceptors[1]: nil": func() error { return client(static, pass, nil) },
		"motan: ServerOptions.Interceptors[0]: nil": func() error {
			_, err := motan.NewServer(&motan.ServerOptions{Interceptors: []motan.Interceptor{nil, pass}})
			return err
		},
		"motan: Interceptors[1] returned nil": func() error { return client(static, pass, none) },
		"motan: Handle s/m: motan: Interceptors[0] returned nil": func() error {
			motan.Handle(server(none), "s", "m", func(_ context.Context, s *string) (*string, error) { return s, nil })
			return nil
		},
		"motan: Register s: no provider":                func() error { server().Register("s", nil); return nil },
		"motan: Commanded: no registry given":           func() error { return client(motan.Commanded(nil, commandless{}, nil)) },
		"motan: Commanded: no source of commands given": func() error { return client(motan.Commanded(static, nil, nil)) },
		"motan: Serve: no listener given":               func() error { return server().Serve(nil) },
		"motan: announce: no announcer given":           func() error { return server().Announce(t.Context(), nil, "", "", motan.Endpoint{Addr: "a:1"}) },
		"motan: Admin.Servers[1]: nil":                  func() error { (&motan.Admin{Servers: []*motan.Server{server(), nil}}).Handler(); return nil },
		"motan: Admin.Clients[0]: nil":                  func() error { (&motan.Admin{Clients: []*motan.Client{nil}}).Handler(); return nil },
		"the argument is a nil *motan.Raw": func() error {
			c := newClient(t, "s", static, nil)
			_, err := motan.Call[string](t.Context(), c, "m", (*motan.Raw)(nil))
			return err
		},
		"motan: fault 0: error \"x\": no code": func() error {
			return new(motan.FaultInjector).Set(motan.Fault{Match: "*", Error: &motan.Error{Message: "x"}})
		},
	} {
		var err error
		func() {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("%v", p)
				}
			}()
			err = do()
		}()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	motan.AccessLog(nil, "server")(func(context.Context, *motan.Exchange) error { return nil })(t.Context(), &motan.Exchange{})
}

// commandless is a source of no commands.
type commandless struct{}

func (commandless) WatchCommands(_ context.Context, _ string, update func([]byte)) error {
	update(nil)
	return nil
}
