package webv4

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// Callers say in the header X-Deadline-Ms how many milliseconds they will wait,
// so that nobody works for those who have gone.

// hurry shortens the call's deadline to what its caller sent; false if that is
// over already. What is no number of milliseconds says nothing.
func (c *call) hurry(sent string) bool {
	ms, err := strconv.ParseUint(sent, 10, 31)
	if err != nil {
		return true
	}
	wait := time.Duration(ms) * time.Millisecond
	if c.timeout == 0 || wait < c.timeout {
		c.timeout = wait
	}
	return ms > 0
}

// PassDeadline sets X-Deadline-Ms in the header of a request that a handler is
// about to send, to what is left of ctx's time, at least 0. Without a deadline
// it does nothing.
func PassDeadline(ctx context.Context, h http.Header) {
	if d, ok := ctx.Deadline(); ok {
		h["X-Deadline-Ms"] = []string{strconv.FormatInt(max(time.Until(d).Milliseconds(), 0), 10)}
	}
}

// admissions are the X-Admission headers by how many classes are refused.
var admissions = [...][]string{nil, {"normal"}, {"critical"}, {"none"}}
