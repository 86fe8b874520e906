package webv4_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

type batchIn struct {
	_    struct{}           `route:"POST /2/batch.json" auth:"user"`
	Body webv4.BatchRequest `body:"" required:"true"`
}

func TestBatch(t *testing.T) {
	a := newAPI(t, &webv4.Options{Authenticator: users{}, RequestIDs: true, Overload: &webv4.Overload{Max: 2, Queue: -1}})
	type item struct {
		_  struct{} `route:"GET /item/:id.json" auth:"user" quota:"user=3/h" etag:"true"`
		ID int      `path:"id" min:"1"`
	}
	type add struct {
		_    struct{} `route:"POST /items.json" auth:"user"`
		Body struct {
			Name string `json:"name" required:"true"`
		} `body:""`
	}
	type large struct {
		_ struct{} `route:"GET /large"`
	}
	type broken struct {
		_ struct{} `route:"GET /broken"`
	}
	type stream struct {
		_ struct{} `route:"GET /stream"`
	}
	webv4.Handle(a, func(ctx context.Context, in *batchIn) (*webv4.BatchReply, error) { return a.Batch(ctx, &in.Body) })
	webv4.Handle(a, func(ctx context.Context, in *item) (*user, error) {
		p, _ := webv4.PrincipalFrom(ctx)
		return &user{ID: int64(in.ID), Name: p.ID + " " + webv4.ClientIP(ctx)}, nil
	})
	webv4.Handle(a, func(ctx context.Context, in *add) (*in2, error) {
		webv4.SetStatus(ctx, 201)
		webv4.Header(ctx).Set("Location", "/item/5.json")
		return &in2{in.Body.Name}, nil
	})
	webv4.Handle(a, func(context.Context, *large) (*in2, error) { return &in2{strings.Repeat("x", 5<<20)}, nil })
	webv4.Handle(a, func(context.Context, *broken) (*in2, error) { panic(http.ErrAbortHandler) })
	webv4.Handle(a, func(context.Context, *stream) (*webv4.Stream, error) { return nil, nil })
	a.Mount("GET /mounted", http.NotFoundHandler())

	send := func(calls ...string) (list []webv4.BatchResult) {
		t.Helper()
		r := do(t, a, "POST /2/batch.json", `{"calls":[`+strings.Join(calls, ",")+`]}`, jsonBody, "Authorization: Bearer 7", "RemoteAddr: 192.0.2.9:1")
		var out webv4.BatchReply
		if err := json.Unmarshal([]byte(r.body), &out); err != nil || r.status != 200 || len(out.Replies) != len(calls) {
			t.Fatalf("%.300s: %v", r.body, err)
		}
		return out.Replies
	}
	one := func(path string) string { return fmt.Sprintf(`{"path":%q}`, path) }
	got := send(one("/item/5.json"), `{"method":"POST","path":"/items.json","body":{"name":"n"}}`, `{"method":"POST","path":"/items.json","body":{}}`,
		one("/item/0.json"), one("/none?a=b"), `{"method":"DELETE","path":"/items.json"}`)
	for i, want := range []struct {
		status int
		body   string
	}{
		{200, `{"id":5,"name":"7 192.0.2.9","count":0,"tags":null}`}, {201, `"n"`},
		{400, `"error_code":10016`}, {400, `"error_code":10017`}, {404, `"error_code":10020`}, {405, `"error_code":10021`},
	} {
		if got[i].Status != want.status || !strings.Contains(string(got[i].Body), want.body) {
			t.Errorf("%d: %d %s, want %+v", i, got[i].Status, got[i].Body, want)
		}
	}
	if h := got[0].Headers; h["Etag"] == "" || h["Ratelimit"] == "" || h["X-Request-Id"] == "" || got[1].Headers["Location"] != "/item/5.json" {
		t.Errorf("%v, %v", h, got[1].Headers)
	}
	// Each call counts against its quotas.
	got = send(one("/item/1.json"), one("/item/2.json"), one("/item/3.json"))
	if got[0].Status != 200 || got[1].Status != 429 || got[2].Status != 429 || got[1].Headers["Retry-After"] == "" {
		t.Errorf("%+v", got)
	}
	for _, path := range []string{"/stream", "/mounted", "relative", "http://other/x"} {
		if r := send(one(path))[0]; r.Status != 400 || !strings.Contains(string(r.Body), `"error_code":10008`) {
			t.Errorf("%s: %d %s", path, r.Status, r.Body)
		}
	}
	if r := send(`{"method":"POST","path":"/2/batch.json","body":{"calls":[{"path":"/large"}]}}`)[0]; r.Status != 400 {
		t.Errorf("a batch in a batch: %d %s", r.Status, r.Body)
	}
	if r := send(one("/broken"))[0]; r.Status != 500 {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	// The replies are bounded.
	got = send(one("/large"), one("/large"), one("/large"))
	if got[0].Status != 200 || got[1].Status != 200 || got[2].Status != 400 || !strings.Contains(string(got[2].Body), "more than 8388608 bytes") {
		t.Errorf("%d %d %d", got[0].Status, got[1].Status, got[2].Status)
	}
	for _, body := range []string{`{}`, `{"calls":[]}`, `{"calls":[{}]}`, `{"calls":[{"method":"TRACE","path":"/x"}]}`, `{"calls":[` + strings.Repeat(`{"path":"/x"},`, 50) + `{"path":"/x"}]}`} {
		if r := do(t, a, "POST /2/batch.json", body, jsonBody, "Authorization: Bearer 7"); r.status != 400 {
			t.Errorf("%.60s: %+v", body, r)
		}
	}
	if _, err := a.Batch(context.Background(), &webv4.BatchRequest{}); err == nil {
		t.Error("outside of a call")
	}
	for _, l := range a.Stats().Limiters {
		if l.InFlight != 0 || l.Refused != 0 {
			t.Errorf("%+v", l)
		}
	}
}
