package webtest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
	"github.com/heddle-go/heddle/webv4/webtest"
)

type update struct {
	_      struct{} `route:"POST /update.json" auth:"user"`
	Status string   `form:"status" required:"true" minLength:"1"`
}

type put struct {
	_    struct{}       `route:"PUT /put.json"`
	Body map[string]int `body:""`
	Kind string         `header:"X-Kind"`
}

type gone struct {
	_ struct{} `route:"DELETE /gone.json"`
}

type out struct {
	Text string `json:"text"`
}

type auth struct{}

func (auth) Authenticate(r *http.Request) (webv4.Principal, error) {
	token, err := webv4.AccessToken(r)
	return webv4.Principal{ID: token}, err
}

func api(t testing.TB) *webv4.API {
	a, err := webv4.New(&webv4.Options{Authenticator: auth{}})
	if err != nil {
		t.Fatal(err)
	}
	webv4.Handle(a, func(ctx context.Context, in *update) (*out, error) {
		p, _ := webv4.PrincipalFrom(ctx)
		return &out{p.ID + " " + in.Status}, nil
	})
	webv4.Handle(a, func(ctx context.Context, in *put) (*out, error) {
		return &out{fmt.Sprint(in.Body, in.Kind, webv4.ClientIP(ctx))}, nil
	})
	webv4.Handle(a, func(context.Context, *gone) (*out, error) { return nil, nil })
	return a
}

func TestClient(t *testing.T) {
	c := webtest.New(t, api(t))
	c.POST("/update.json", url.Values{"status": {"hi"}}).Fails(401, webv4.CodeTokenMissing)
	c.Token = "7"
	var got out
	c.POST("/update.json", url.Values{"status": {"hi there"}}).OK(&got)
	if got.Text != "7 hi there" {
		t.Errorf("%+v", got)
	}
	c.POST("/update.json", url.Values{"status": {""}}).Fails(400, webv4.CodeInvalid)
	c.Header.Set("X-Kind", "k")
	c.Remote = "1.2.3.4:5"
	c.PUT("/put.json", map[string]int{"a": 1}).OK(&got)
	if got.Text != "map[a:1]k1.2.3.4" {
		t.Errorf("%+v", got)
	}
	c.Header.Set("Content-Type", "application/json")
	c.Do("PUT", "/put.json", strings.NewReader("{}")).OK(nil)
	c.DELETE("/gone.json").OK(nil)
	c.GET("/nothing").Fails(404, webv4.CodeNoAPI)
}

// failures records what a test would have been told.
type failures struct{ list []string }

func (f *failures) Helper() {}
func (f *failures) Errorf(format string, args ...any) {
	f.list = append(f.list, fmt.Sprintf(format, args...))
}
func (f *failures) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic(f)
}

func TestFailuresAreReported(t *testing.T) {
	f := &failures{}
	c := webtest.New(f, api(t))
	fatal := func(g func()) {
		defer func() {
			if recover() != any(f) {
				t.Error("did not end the test")
			}
		}()
		g()
	}
	c.GET("/nothing").Fails(400, webv4.CodeNoAPI)
	c.GET("/nothing").Fails(404, 1)
	fatal(func() { c.GET("/nothing").OK(nil) })
	fatal(func() { c.DELETE("/gone.json").OK(new(int)) })
	fatal(func() { c.PUT("/put.json", make(chan int)) })
	h := webtest.New(f, http.NotFoundHandler())
	h.GET("/").Fails(404, 1)
	if len(f.list) != 6 {
		t.Errorf("%d: %q", len(f.list), f.list)
	}
}
