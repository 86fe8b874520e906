package motan_test

import (
	"context"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/motan"
)

// board is an Announcer that remembers addresses.
type board []string

func (b *board) Announce(_ context.Context, o motan.Offer) (func(context.Context) error, error) {
	*b = append(*b, o.Addr)
	return func(context.Context) error { return nil }, nil
}

func TestAnnounceOnlyWhatCanBeCalled(t *testing.T) {
	for addr, want := range map[string]string{
		"10.1.0.1:8100": "", "node-1:8100": "", "[2001:db8::1]:8100": "", "127.0.0.1:8100": "", "unix:/run/echo.sock": "",
		"http://node-1": "", "https://node-1:8443/motan": "",
		":8100": "no host", "[::]:8100": "no host", "0.0.0.0:8100": "no host", "[::%lo]:8100": "no host", "http://0.0.0.0:80": "no host", "http://:80": "no host",
		"127.0.0.1:0": "no port", "node-1:": "no port", "node-1:99999": "no port", "node-1:no-such-port": "no port", "http://node-1:0": "no port",
		"node-1": "missing port",
	} {
		srv := newServer(t, nil)
		motan.Handle(srv, "s", "m", func(_ context.Context, s *string) (*string, error) { return s, nil })
		var b board
		err := srv.Announce(t.Context(), &b, "", "", motan.Endpoint{Addr: addr})
		if want == "" && (err != nil || len(b) != 1) || want != "" && (err == nil || len(b) != 0 || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), addr)) {
			t.Errorf("%s: %v, announced %v, want %q", addr, err, b, want)
		}
	}
}
