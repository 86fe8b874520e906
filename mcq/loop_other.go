//go:build !linux

package mcq

// loop is for Linux only; elsewhere each connection has its goroutines.
type loop struct{}

func startLoop(*Server) *loop { return nil }

func (*loop) take(*session) bool { return false }
func (*loop) resume(*lane)       {}
func (*loop) drain()             {}
func (*loop) kill()              {}
func (*loop) relieve()           {}

func (*session) handBack() bool { return false }
func (*lane) flushLocked()      {}
