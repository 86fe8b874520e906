package webv4_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

// stubStore answers what a test says and remembers what it was asked.
type stubStore struct {
	charges []webv4.Charge
	calls   int
	answer  func(i int, c webv4.Charge) webv4.Standing
	err     error
	slow    bool
}

func (s *stubStore) Spend(ctx context.Context, charges []webv4.Charge) ([]webv4.Standing, error) {
	s.charges = charges
	s.calls++
	if s.slow {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var list []webv4.Standing
	for i, c := range charges {
		list = append(list, s.answer(i, c))
	}
	return list, s.err
}

func TestQuotaStore(t *testing.T) {
	s := &stubStore{answer: func(i int, c webv4.Charge) webv4.Standing {
		return webv4.Standing{OK: true, Remaining: 10 - i, Reset: time.Minute}
	}}
	for _, closed := range []bool{false, true} {
		a := newAPI(t, &webv4.Options{QuotaStore: s, QuotaFailClosed: closed, Authenticator: users{}, Quotas: "ip=100/h"})
		webv4.Handle(a, func(context.Context, *limited) (*empty, error) { return nil, nil })
		webv4.Handle(a, func(ctx context.Context, _ *status) (*webv4.RateLimitStatus, error) { return a.RateLimitStatus(ctx) })
		get := func() answer { return do(t, a, "GET /limited.json?access_token=7@a", "", "RemoteAddr: 1.2.3.4:5") }
		r := get()
		r.is(t, 200, "{}")
		if r.header.Get("Ratelimit") != `"ip/h";r=7;t=60` {
			t.Errorf("%v", r.header)
		}
		want := `[{* ip=100/h "1.2.3.4" 100 1h0m0s 1} {GET /limited.json user=3/m "7" 3 1m0s 1} {GET /limited.json app=5/h "a" 5 1h0m0s 1} {GET /limited.json ip=100/h "1.2.3.4" 100 1h0m0s 1}]`
		if got := fmt.Sprint(s.charges); got != want {
			t.Errorf("charges %s\nwant %s", got, want)
		}
		ok := s.answer
		s.answer = func(i int, c webv4.Charge) webv4.Standing { return webv4.Standing{OK: i != 1, Retry: 90 * time.Second} }
		r = get()
		r.fails(t, 429, webv4.CodeUserAPILimit, "")
		if r.header.Get("Retry-After") != "90" {
			t.Errorf("%v", r.header)
		}
		s.answer = ok
		before := s.calls
		if r := do(t, a, "GET /status.json?access_token=7", "", "RemoteAddr: 1.2.3.4:5"); r.status != 200 || !strings.Contains(r.body, `"remaining_ip_hits":10,`) {
			t.Errorf("%+v", r)
		}
		if len(s.charges) != 4 || s.charges[0].Cost != 0 || s.calls != before+1 {
			t.Errorf("asking takes %d calls and charges %+v", s.calls-before, s.charges)
		}
		s.err = errors.New("down")
		if r := do(t, a, "GET /status.json?access_token=7", ""); closed {
			r.fails(t, 503, webv4.CodeUnavailable, "")
		} else if r.status != 200 {
			t.Errorf("%+v", r)
		}
		s.err = nil
		// When the store fails, the process counts by itself, or refuses.
		for _, fail := range []func(){func() { s.err = errors.New("down") }, func() { s.err, s.slow = nil, true }} {
			fail()
			if closed {
				get().fails(t, 503, webv4.CodeUnavailable, "service unavailable")
			} else {
				get().is(t, 200, "{}")
			}
		}
		s.err, s.slow = nil, true
		for range 3 {
			r = get()
		}
		if !closed {
			r.fails(t, 429, webv4.CodeUserAPILimit, "")
		}
		if a.Stats().StoreFailed != 6 {
			t.Errorf("%+v", a.Stats())
		}
		s.slow = false
	}
}

// A store that does not answer is not waited for by every call.
func TestQuotaStoreIsAway(t *testing.T) {
	for _, closed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &stubStore{slow: true, answer: func(int, webv4.Charge) webv4.Standing { return webv4.Standing{OK: true} }}
			a := newAPI(t, &webv4.Options{QuotaStore: s, QuotaFailClosed: closed, Quotas: "ip=100000/h"})
			webv4.Handle(a, func(context.Context, *do1) (*empty, error) { return nil, nil })
			get := func() {
				t.Helper()
				r := do(t, a, "GET /do.json", "")
				if !closed || !s.slow {
					r.is(t, 200, "{}")
				} else {
					r.fails(t, 503, webv4.CodeUnavailable, "")
				}
			}
			began := time.Now()
			for range 1000 {
				get()
				time.Sleep(time.Millisecond)
			}
			if s.calls < 5 || s.calls > 5+12 {
				t.Errorf("asked %d times in a second", s.calls)
			}
			if took := time.Since(began) - time.Second; took > 100*time.Millisecond {
				t.Errorf("waited for %v", took)
			}
			if n := a.Stats().StoreFailed; n != 1000 {
				t.Errorf("%d failures", n)
			}
			// It is asked for every call again as soon as it answers.
			time.Sleep(time.Second)
			s.slow, s.calls = false, 0
			for range 100 {
				get()
			}
			if s.calls != 100 {
				t.Errorf("asked %d times of 100", s.calls)
			}
			// Clients that go away say nothing about it.
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			s.slow = true
			for range 10 {
				a.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/do.json", nil).WithContext(ctx))
			}
			s.slow, s.calls = false, 0
			get()
			if s.calls != 1 {
				t.Error("not asked after clients went away")
			}
		})
	}
}
