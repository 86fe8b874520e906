package webv4_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

type pay struct {
	_    struct{} `route:"POST /pay.json" auth:"user" idempotent:"24h" timeout:"5s"`
	Body struct {
		Amount int           `json:"amount" min:"1"`
		Slow   time.Duration `json:"slow"`
		Fail   string        `json:"fail"`
	} `body:"" required:"true"`
}

type putOrder struct {
	_ struct{} `route:"PUT /order" auth:"user" idempotent:"1h,required"`
	N int      `query:"n"`
}

type paid struct {
	Number int `json:"number"`
	Amount int `json:"amount"`
}

func payments(t testing.TB, opts *webv4.Options, calls *int) *webv4.API {
	opts.Authenticator = users{}
	a := newAPI(t, opts)
	var mu sync.Mutex
	webv4.Handle(a, func(ctx context.Context, in *pay) (*paid, error) {
		mu.Lock()
		*calls++
		n := *calls
		mu.Unlock()
		time.Sleep(in.Body.Slow)
		webv4.SetStatus(ctx, 201)
		webv4.Header(ctx).Set("Location", fmt.Sprint("/pay/", n))
		return &paid{n, in.Body.Amount}, fails(in.Body.Fail)
	})
	webv4.Handle(a, func(context.Context, *putOrder) (*empty, error) { *calls++; return nil, nil })
	return a
}

func TestIdempotencyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		a := payments(t, &webv4.Options{CompressFrom: 1}, &calls)
		send := func(key, body, user string, more ...string) answer {
			t.Helper()
			return do(t, a, "POST /pay.json", body, append(more, jsonBody, "Authorization: Bearer "+user, "Idempotency-Key: "+key)...)
		}
		again := func(r answer, number int) {
			t.Helper()
			r.is(t, 201, fmt.Sprintf(`{"number":%d,"amount":5}`, number))
			if r.header.Get("Idempotent-Replayed") != "true" || r.header.Get("Location") != fmt.Sprint("/pay/", number) {
				t.Errorf("headers %v", r.header)
			}
		}
		first := send("k1", `{"amount":5}`, "7")
		first.is(t, 201, `{"number":1,"amount":5}`)
		if first.header.Get("Idempotent-Replayed") != "" {
			t.Error(first.header)
		}
		again(send("k1", `{"amount":5}`, "7"), 1)
		if r := send("k1", `{"amount":5}`, "7", "Accept-Encoding: gzip"); r.status != 201 || r.header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%+v", r)
		}
		// Another request, caller or key is another.
		send("k1", `{"amount":6}`, "7").fails(t, 422, webv4.CodeParameter, "belongs to another request")
		send("k1", `{"amount":5}`, "8").is(t, 201, `{"number":2,"amount":5}`)
		send("k1", `{"amount":5}`, "7@app").is(t, 201, `{"number":3,"amount":5}`)
		// Whose key would it be? Two callers without a name are not the same.
		send("k1", `{"amount":5}`, "@").fails(t, 400, webv4.CodeInvalid, "only of callers that are known")
		send("k2", `{"amount":5}`, "7").is(t, 201, `{"number":4,"amount":5}`)
		// Without a key it is done each time.
		do(t, a, "POST /pay.json", `{"amount":5}`, jsonBody, "Authorization: Bearer 7").is(t, 201, `{"number":5,"amount":5}`)
		// What fails may be tried again, with the same key.
		for i, how := range []string{"client", "late", "panic", "other"} {
			body := fmt.Sprintf(`{"amount":5,"fail":%q}`, how)
			for range 2 {
				if r := send("k"+how, body, "7"); r.status < 400 || calls == 0 {
					t.Errorf("%+v", r)
				}
			}
			if calls != 7+2*i {
				t.Errorf("%s: %d calls, want %d", how, calls, 7+2*i)
			}
		}
		before := calls
		send("k3", `{"amount":0}`, "7").fails(t, 400, webv4.CodeInvalid, "amount")
		send("k3", `{"amount":5}`, "7").is(t, 201, fmt.Sprintf(`{"number":%d,"amount":5}`, before+1))

		// Of several at once one is done, the others are told so.
		var wg sync.WaitGroup
		counts := map[int]int{}
		var mu sync.Mutex
		for range 20 {
			wg.Go(func() {
				r := send("k4", `{"amount":5,"slow":1000000000}`, "7")
				mu.Lock()
				defer mu.Unlock()
				counts[r.status]++
				if r.status == 409 {
					r.fails(t, 409, webv4.CodeBusy, "under way")
					if r.header.Get("Retry-After") != "1" {
						t.Error(r.header)
					}
				}
			})
		}
		wg.Wait()
		if counts[201] != 1 || counts[409] != 19 {
			t.Errorf("statuses %v", counts)
		}
		again(send("k4", `{"amount":5,"slow":1000000000}`, "7"), before+2)

		time.Sleep(24 * time.Hour)
		send("k1", `{"amount":6}`, "7").is(t, 201, fmt.Sprintf(`{"number":%d,"amount":6}`, before+3))

		for _, key := range []string{"", " ", "a b", "ü", "a\x01", strings.Repeat("x", 256)} {
			send(key, `{"amount":5}`, "7").fails(t, 400, webv4.CodeInvalid, "(Idempotency-Key)")
		}
		do(t, a, "PUT /order", "", "Authorization: Bearer 7").fails(t, 400, webv4.CodeMissing, "(Idempotency-Key)")
		for range 2 {
			do(t, a, "PUT /order?n=1", "", "Authorization: Bearer 7", "Idempotency-Key: k").is(t, 200, "{}")
		}
		do(t, a, "PUT /order?n=2", "", "Authorization: Bearer 7", "Idempotency-Key: k").fails(t, 422, webv4.CodeParameter, "")
	})
}

// What is remembered is bounded, and what does not fit is not done again.
func TestIdempotencyIsBounded(t *testing.T) {
	a := newAPI(t, &webv4.Options{Authenticator: users{}, KeepIdempotent: 20_000})
	type in struct {
		_ struct{} `route:"POST /big" auth:"user" idempotent:"1h"`
		N int      `query:"n"`
	}
	calls := 0
	webv4.Handle(a, func(_ context.Context, in *in) (*in2, error) { calls++; return &in2{strings.Repeat("x", in.N)}, nil })
	send := func(n int, key string) answer {
		return do(t, a, fmt.Sprint("POST /big?n=", n), "", "Authorization: Bearer 7", "Idempotency-Key: "+key)
	}
	for i := range 100 {
		send(600, fmt.Sprint(i))
	}
	if s := a.Stats(); s.OnceDropped < 70 || s.OnceDropped > 90 {
		t.Errorf("%d dropped", s.OnceDropped)
	}
	if r := send(600, "99"); r.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%+v", r)
	}
	send(6000, "large")
	before := calls
	send(6000, "large").fails(t, 409, webv4.CodeIllegal, "too large to be kept")
	if calls != before {
		t.Error("done again")
	}
}

// brokenStore fails as a store does that is not there.
type brokenStore struct{ begin, finish error }

func (s brokenStore) Begin(context.Context, string, [32]byte, time.Duration) (*webv4.IdempotentReply, error) {
	return nil, s.begin
}

func (s brokenStore) Renew(context.Context, string, [32]byte, time.Duration) error { return nil }

func (s brokenStore) Finish(context.Context, string, *webv4.IdempotentReply, time.Duration) error {
	return s.finish
}

func TestIdempotencyStoreFails(t *testing.T) {
	for _, tc := range []struct {
		store  brokenStore
		status int
		failed uint64
	}{{brokenStore{begin: errors.New("no")}, 503, 0}, {brokenStore{finish: errors.New("no")}, 201, 1}} {
		calls := 0
		a := payments(t, &webv4.Options{IdempotencyStore: tc.store}, &calls)
		r := do(t, a, "POST /pay.json", `{"amount":5}`, jsonBody, "Authorization: Bearer 7", "Idempotency-Key: k")
		if r.status != tc.status || a.Stats().OnceFailed != tc.failed || (calls == 1) != (tc.status == 201) {
			t.Errorf("%+v: %+v, %d calls, %+v", tc, r, calls, a.Stats())
		}
	}
}

func TestIdempotentTags(t *testing.T) {
	a := newAPI(t, &webv4.Options{Authenticator: users{}})
	type get struct {
		_ struct{} `route:"GET /x" auth:"user" idempotent:"1h"`
	}
	type anybody struct {
		_ struct{} `route:"POST /x" idempotent:"1h"`
	}
	type long struct {
		_ struct{} `route:"POST /x" auth:"user" idempotent:"soon"`
	}
	type stream struct {
		_ struct{} `route:"POST /x" auth:"user" idempotent:"1h"`
	}
	for want, f := range map[string]func(){
		"a GET is":                  func() { webv4.Handle(a, func(context.Context, *get) (*empty, error) { return nil, nil }) },
		"nobody can tell whose":     func() { webv4.Handle(a, func(context.Context, *anybody) (*empty, error) { return nil, nil }) },
		"want how long replies are": func() { webv4.Handle(a, func(context.Context, *long) (*empty, error) { return nil, nil }) },
		"etag or idempotent":        func() { webv4.Handle(a, func(context.Context, *stream) (*webv4.Stream, error) { return nil, nil }) },
	} {
		if text := panics(t, f); !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
}

// expiring is a store whose claims end by themselves, as they do where processes
// share one.
type expiring struct {
	mu      sync.Mutex
	until   time.Time
	print   [32]byte
	renewed int
	gone    bool // for Renew
}

func (s *expiring) Begin(_ context.Context, _ string, print [32]byte, hold time.Duration) (*webv4.IdempotentReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.until) {
		return &webv4.IdempotentReply{Fingerprint: s.print}, nil
	}
	s.print, s.until = print, time.Now().Add(hold)
	return nil, nil
}

func (s *expiring) Renew(_ context.Context, _ string, print [32]byte, hold time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewed++
	if s.gone || print != s.print || !time.Now().Before(s.until) {
		return errors.New("gone")
	}
	s.until = time.Now().Add(hold)
	return nil
}

func (s *expiring) Finish(context.Context, string, *webv4.IdempotentReply, time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Time{}
	return nil
}

func (s *expiring) renewals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewed
}

// A handler that does not end in its time still has its key to itself, though not
// for longer than its reply would be kept.
func TestOnceOutlivesTheDeadline(t *testing.T) {
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store := &expiring{}
			opts := &webv4.Options{Authenticator: users{}}
			if shared {
				opts.IdempotencyStore = store
			}
			a := newAPI(t, opts)
			type pay struct {
				_     struct{}      `route:"POST /pay" auth:"user" idempotent:"1h" timeout:"1s"`
				Takes time.Duration `query:"takes"`
			}
			calls := 0
			webv4.Handle(a, func(_ context.Context, in *pay) (*empty, error) {
				calls++
				time.Sleep(in.Takes)
				return nil, nil
			})
			send := func(takes string) answer {
				return do(t, a, "POST /pay?takes="+takes, "", "Authorization: Bearer 7", "Idempotency-Key: "+takes)
			}
			send("1s")
			if n := store.renewals(); n != 0 {
				t.Errorf("%d renewals for a handler that ends in its time", n)
			}
			var first sync.WaitGroup
			first.Go(func() { send("10m") })
			for range 3 {
				time.Sleep(3 * time.Minute)
				send("10m").fails(t, 409, webv4.CodeBusy, "under way")
			}
			first.Wait()
			if calls != 2 {
				t.Errorf("done %d times", calls-1)
			}
			if !shared {
				return
			}
			if n := store.renewals(); n < 55 || n > 62 {
				t.Errorf("%d renewals in ten minutes", n)
			}
			first.Go(func() { send("3h") })
			time.Sleep(59 * time.Minute)
			send("3h").fails(t, 409, webv4.CodeBusy, "under way")
			time.Sleep(2 * time.Minute)
			renewed := store.renewals()
			time.Sleep(time.Hour)
			if n := store.renewals() - renewed; n != 0 {
				t.Errorf("%d renewals beyond the reply's time", n)
			}
			first.Wait()

			store.mu.Lock()
			store.gone = true
			store.mu.Unlock()
			before := a.Stats().OnceFailed
			send("15s")
			if n := a.Stats().OnceFailed - before; n != 1 {
				t.Errorf("%d renewals failed", n)
			}
		})
	}
}
