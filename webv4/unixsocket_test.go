package webv4_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

// Calls over a unix socket have the address that a proxy tells, if it is trusted, else none:
// whatever the socket at the other end is called.
func TestUnixSockets(t *testing.T) {
	type who struct {
		_ struct{} `route:"GET /who"`
	}
	for _, trust := range []bool{true, false} {
		dir, err := os.MkdirTemp("", "webv4") // the names of sockets are short
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		deny := &webv4.DenyList{}
		if err := deny.Deny(webv4.DenyIP, "203.0.113.9", "test", 0); err != nil {
			t.Fatal(err)
		}
		a := newAPI(t, &webv4.Options{TrustUnix: trust, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Quotas: "ip=2/h", Deny: deny})
		webv4.Handle(a, func(ctx context.Context, _ *who) (*in2, error) { return &in2{webv4.ClientIP(ctx)}, nil })
		path := filepath.Join(dir, "s")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Skip("no unix sockets: ", err)
		}
		srv := a.Server()
		go srv.Serve(ln)
		t.Cleanup(func() { srv.Close() })
		t.Chdir(dir)
		names := 0
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
			names++
			name := []string{"10.0.0.1:80", "203.0.113.9:80"}[names%2]
			os.Remove(name)
			return net.DialUnix("unix", &net.UnixAddr{Name: name, Net: "unix"}, &net.UnixAddr{Name: path, Net: "unix"})
		}}}
		get := func(forwarded string, status int, ip string) {
			t.Helper()
			r, _ := http.NewRequest("GET", "http://unix/who", nil)
			if forwarded != "" {
				r.Header.Set("X-Forwarded-For", forwarded)
			}
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if want := `{"p":"` + ip + `"}` + "\n"; resp.StatusCode != status || status == 200 && string(body) != want {
				t.Errorf("trusted: %v, for %q: %d %s, want %d %q", trust, forwarded, resp.StatusCode, body, status, ip)
			}
		}
		if trust {
			get("192.0.2.1", 200, "192.0.2.1")
			get("192.0.2.1, 10.0.0.7", 200, "192.0.2.1")
			get("192.0.2.1", 429, "")
			get("192.0.2.2", 200, "192.0.2.2")
			get("203.0.113.9", 403, "")
			get("", 200, "")
			continue
		}
		get("192.0.2.1", 200, "")
		get("203.0.113.9", 200, "")
		get("192.0.2.2", 429, "")
	}
}
