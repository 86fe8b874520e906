package motan

import (
	"context"
	"reflect"
	"time"
)

// tryTwo makes a try and, if that takes long, another at the same time. It
// returns the endpoint that was tried last.
func (c *Client) tryTwo(ctx context.Context, p *picker, e *endpoint, tried []*endpoint, o *outgoingCall) (*endpoint, error) {
	until := c.tryUntil(o, len(tried))
	var first, second try
	if err := c.start(ctx, &first, e, o, until); err != nil {
		return e, err
	}
	first.conn.haveRead()
	delay := c.opt.BackupAfter
	if delay == 0 {
		var ok bool
		if delay, ok = o.m.took.percentile(0.9); !ok {
			<-first.k.done
			return e, c.finish(&first, o)
		}
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-first.k.done:
		return e, c.finish(&first, o)
	case <-timer.C:
	}
	other := p.pick(ctx, noTurn, append(tried[:len(tried):len(tried)], e))
	if other == nil || len(other.conns) == 0 || !c.takeBackup() {
		<-first.k.done
		return e, c.finish(&first, o)
	}
	if err := c.start(ctx, &second, other, o, until); err != nil {
		<-first.k.done
		return e, c.finish(&first, o)
	}
	second.conn.haveRead()
	c.stats.backups.Add(1)
	won, lost := &first, &second
	select {
	case <-first.k.done:
	case <-second.k.done:
		won, lost = lost, won
	}
	err := c.finish(won, o)
	if err == nil || !retry(err, true) {
		lost.abandon()
		return won.e, err
	}
	<-lost.k.done
	return lost.e, c.finish(lost, o)
}

// takeBackup allows 15 second requests for 100 calls.
func (c *Client) takeBackup() bool {
	if 100*(c.stats.backups.Load()+1) <= 15*c.stats.calls.Load()+1000 {
		return true
	}
	c.stats.overBudget.Add(1)
	return false
}

// tryTwoOthers is tryTwo for endpoints without connections of their own. A try
// there keeps its goroutine busy, so each gets one.
func (c *Client) tryTwoOthers(ctx context.Context, p *picker, e *endpoint, tried []*endpoint, o *outgoingCall) (*endpoint, error) {
	began, until := time.Now(), c.tryUntil(o, len(tried))
	delay := c.opt.BackupAfter
	if delay == 0 {
		var ok bool
		if delay, ok = o.m.took.percentile(0.9); !ok {
			err := c.tryOther(ctx, e, o, until)
			if err == nil {
				o.m.took.add(time.Since(began))
			}
			return e, err
		}
	}
	ctx, cancel := context.WithCancel(ctx) // the loser's
	ended := make(chan *otherTry, 2)
	running := 1
	c.beginOther(ctx, e, o, until, ended)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	var won *otherTry
	select {
	case won = <-ended:
		running--
	case <-timer.C:
		other := p.pick(ctx, noTurn, append(tried[:len(tried):len(tried)], e))
		if other != nil && len(other.conns) == 0 && other.server == nil && c.takeBackup() {
			c.stats.backups.Add(1)
			c.beginOther(ctx, other, o, until, ended)
			running++
		}
		for running > 0 && (won == nil || won.err != nil && retry(won.err, true)) {
			won = <-ended
			running--
		}
	}
	cancel()
	if running > 0 {
		<-ended // it must not use the request once the call has returned
	}
	if o.x != nil {
		*o.x = won.x
	}
	if won.err == nil {
		reflect.ValueOf(o.resp).Elem().Set(reflect.ValueOf(won.call.resp).Elem())
		o.m.took.add(time.Since(began))
	}
	return won.e, won.err
}

// otherTry is one try of two, with what it writes to itself.
type otherTry struct {
	e    *endpoint
	call outgoingCall
	x    Exchange
	err  error
}

// beginOther makes a try on a goroutine of its own.
func (c *Client) beginOther(ctx context.Context, e *endpoint, o *outgoingCall, until time.Time, ended chan<- *otherTry) {
	t := &otherTry{e: e, call: *o}
	t.call.phases = phases{} // a span's phases belong to one goroutine
	t.call.resp = reflect.New(reflect.TypeOf(o.resp).Elem()).Interface()
	if o.x != nil {
		t.x = *o.x
		t.call.x = &t.x
	}
	go func() {
		t.err = c.tryOther(ctx, e, &t.call, until)
		ended <- t
	}()
}
