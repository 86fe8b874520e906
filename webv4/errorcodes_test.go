package webv4_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

// Each version of an API has a table of its own: the same error of a handler, and
// of the chain before it, has that version's code, status and text.
func TestErrorCodesPerVersion(t *testing.T) {
	type show struct {
		_  struct{} `route:"GET /show" auth:"user"`
		ID int      `query:"id" min:"1"`
	}
	var reply error
	a := newAPI(t, &webv4.Options{Authenticator: users{}, ErrorCodes: webv4.ErrorCodes{
		30001:               {Status: 404, Text: "no such thing"}, // a code of its own
		webv4.CodeUserLimit: {Text: "too many"},
	}})
	v1 := a.Group("/1", &webv4.GroupOptions{Quotas: "user=1/d", ErrorCodes: webv4.ErrorCodes{
		webv4.CodeUserLimit: {Code: 40310, Status: 403},
		webv4.CodeInvalid:   {Code: 40022, Text: "bad parameter"},
		webv4.CodeNoAPI:     {Code: 40402, Text: "nothing here"},
	}})
	v2 := a.Group("/2", &webv4.GroupOptions{Errors: webv4.ProblemErrors})
	for _, g := range []*webv4.API{v1, v2} {
		webv4.Handle(g, func(context.Context, *show) (*empty, error) { return nil, reply })
	}
	get := func(path, caller string) answer { return do(t, a, "GET "+path, "", "Authorization: Bearer "+caller) }

	get("/1/show?id=0", "a").fails(t, 400, 40022, "bad parameter: (id)")
	get("/1/show?id=1", "a").fails(t, 403, 40310, "too many")
	get("/2/show?id=0", "b").is(t, 400, `{"type":"about:blank","title":"parameter value invalid","status":400,"detail":"(id) expect (\u003e= 1), but get (0)","instance":"/2/show","error_code":10017}`)
	get("/1/nothing", "a").fails(t, 404, 40402, "nothing here")
	get("/nothing", "a").fails(t, 404, webv4.CodeNoAPI, "request api not found")

	reply = webv4.Errorf(30001, "id %d", 7)
	get("/1/show?id=1", "b").fails(t, 404, 30001, "no such thing: id 7")
	get("/2/show?id=1", "b").is(t, 404, `{"type":"about:blank","title":"no such thing","status":404,"detail":"id 7","instance":"/2/show","error_code":30001}`)
	// What a handler says by hand stays, but for the number.
	reply = &webv4.Error{Status: 409, Code: webv4.CodeInvalid, Message: "taken"}
	get("/1/show?id=1", "c").fails(t, 409, 40022, "taken")
	// Inside, the error is what it was.
	if cause := errors.New("x"); !errors.Is(webv4.Wrap(30001, cause), cause) {
		t.Error("the cause is lost")
	}

	find := func(g *webv4.API, code int) *webv4.ErrorCode {
		for _, row := range g.ErrorTable() {
			if row.Code == code {
				return &row
			}
		}
		return nil
	}
	for _, tc := range []struct {
		api  *webv4.API
		code int
		want webv4.ErrorCode
	}{
		{a, 30001, webv4.ErrorCode{Code: 30001, Status: 404, Text: "no such thing"}},
		{v1, 30001, webv4.ErrorCode{Code: 30001, Status: 404, Text: "no such thing"}},
		{v1, 40310, webv4.ErrorCode{Code: 40310, Status: 403, Text: "too many"}},
		{v2, 10023, webv4.ErrorCode{Code: 10023, Status: 429, Text: "too many"}},
		{v2, 10017, webv4.ErrorCode{Code: 10017, Status: 400, Text: "parameter value invalid"}},
	} {
		if got := find(tc.api, tc.code); got == nil || *got != tc.want {
			t.Errorf("row %d: %+v, want %+v", tc.code, got, tc.want)
		}
	}
	if row := find(v1, webv4.CodeUserLimit); row != nil {
		t.Errorf("version 1 still has %+v", row)
	}

	bad := webv4.ErrorCodes{-1: {}, 10001: {Status: 200}, 10002: {Code: -5}}
	_, err := webv4.New(&webv4.Options{ErrorCodes: bad})
	for _, want := range []string{"webv4: Options.ErrorCodes -1", "ErrorCodes 10001", "ErrorCodes 10002"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if text := panics(t, func() { a.Group("/3", &webv4.GroupOptions{ErrorCodes: bad}) }); !strings.Contains(text, "GroupOptions.ErrorCodes -1") {
		t.Error(text)
	}
}
