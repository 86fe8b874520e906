package watchman

import "context"

// Detach returns a context that belongs to ctx's span and holds its values but
// outlives its cancellation and deadline: for work that goes on after the
// reply. Spans begun in it that end after their local root are late: they join
// the trace if it was kept or is still in the ring.
func Detach(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// Go runs f on a goroutine of its own with Detach(ctx). It waits for nothing:
// f is yours to bound and to stop. A panic in f is noted under the operation
// of ctx's span and goes on.
func Go(ctx context.Context, f func(ctx context.Context)) {
	s := FromContext(ctx)
	ctx = Detach(ctx)
	go func() {
		if s != nil {
			defer func() {
				if v := recover(); v != nil {
					s.op.w.errors.note(s, Recovered(v), s.op.w.now())
					s.Keep(KeepError)
					panic(v)
				}
			}()
		}
		f(ctx)
	}()
}
