// Package ports finds loopback ports for servers that are started, killed and
// started again on the same address.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// The range lies below the ports that systems give to outgoing connections, so
// that none of those takes a port while its server is away.
const (
	lowest  = 20000
	highest = 31999
)

// Free returns n addresses on 127.0.0.1 that nobody listens on now.
func Free(n int) ([]string, error) {
	var addrs []string
	var last error
	for range 100 * n {
		if len(addrs) == n {
			return addrs, nil
		}
		addr := fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest+1))
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			last = err
			continue
		}
		defer ln.Close() // taken until all are found, so that none is found twice
		addrs = append(addrs, addr)
	}
	return nil, errors.Join(errors.New("ports: too few free ports"), last)
}
