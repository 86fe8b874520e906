package webv4_test

import (
	"context"
	"net/http"
	"net/netip"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

// BenchmarkWebDenyList asks about an address, in IPv4, that none of 40,000 entries is
// about.
func BenchmarkWebDenyList(b *testing.B) {
	var d webv4.DenyList
	for i := range 20_000 {
		addr := netip.AddrFrom4([4]byte{9, byte(i >> 8), byte(i), 0})
		for _, value := range []string{addr.String(), addr.String() + "/24"} {
			if err := d.Deny(webv4.DenyIP, value, "", 0); err != nil {
				b.Fatal(err)
			}
		}
	}
	a := newAPI(b, &webv4.Options{Deny: &d})
	webv4.Handle(a, func(context.Context, *do1) (*empty, error) { return nil, nil })
	benchRequest(b, a, newRequest("GET", "/do.json", ""), http.StatusOK)
}
