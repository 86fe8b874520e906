package mcq

import "time"

// finish sends what there is to say, and has committed what the connections
// want. It reports whether the caller still is the one that runs the loop.
func (l *loop) finish() bool {
	l.send()
	if len(l.ops) == 0 {
		return true
	}
	if l.gather() {
		return true
	}
	ops, still := l.ops, true
	if l.ops = nil; !l.mayCommit() || !l.commit(ops, &still) {
		if err := l.srv.local.inbox.putAll(ops); err != nil {
			for _, o := range ops {
				ln := o.lane
				o.err = err
				o.finish(o)
				l.talked = append(l.talked, ln)
			}
			l.send()
		}
	}
	if still {
		clear(ops)
		l.ops = ops[:0]
	}
	return still
}

// gatherOps bounds what gathers before it is committed.
const gatherOps = 1024

// gather reports whether to read on before the group is committed: what a group costs
// hardly depends on how much is in it, and who is answered sends more while the others
// are.
func (l *loop) gather() bool {
	return l.srv.local.opt.Sync == Always && len(l.ops) < min(gatherOps, len(l.lanes)) && !l.nothingElse()
}

// quickCommit is how long a group may take for a loop to commit it. Handing it
// over costs two changes of threads, and the loop could read meanwhile.
const quickCommit = time.Millisecond

// mayCommit reports whether the loop had better commit by itself than go on
// reading while the committer does.
func (l *loop) mayCommit() bool {
	b := l.srv.local
	switch {
	case b.held.Load() > 0:
		return false
	case b.opt.Sync != Always:
		return true
	}
	return b.took.Load() < int64(quickCommit) && (l.alone || l.nothingElse())
}

// commit commits ops unless somebody else has something to commit, and reports
// whether it has. Afterwards still is false if the loop was taken over meanwhile.
func (l *loop) commit(ops []*op, still *bool) bool {
	b := l.srv.local
	if !b.inbox.claim() {
		return false
	}
	l.setAway(true)
	if b.held.Load() > 0 { // since it was asked
		l.relieve()
	}
	b.commitAll(ops)
	b.inbox.done()
	*still = l.setAway(false)
	return true
}

// setAway returns what away was.
func (l *loop) setAway(away bool) (was bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was, l.away = l.away, away
	return was
}

// relieve has another goroutine run the loop if its own is held up by a commit.
func (l *loop) relieve() {
	if l.setAway(false) {
		go l.run()
	}
}

// nothingElse reports whether the loop would have to wait for more to do.
func (l *loop) nothingElse() bool {
	if len(l.again) > 0 {
		return false
	}
	l.poll(0)
	return l.ready == 0
}
