//go:build !unix

package motan

import "net"

// direct is not available here: the writer's goroutine does all the writing, and
// readers wait.
type direct struct{}

func (*direct) init(net.Conn)            {}
func (*direct) possible() bool           { return false }
func (*direct) attempt([]byte) int       { return 0 }
func (*direct) look([]byte) (int, error) { return 0, nil }
