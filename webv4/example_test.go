package webv4_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/webv4"
)

// hello declares an interface: its fields are the parameters.
type hello struct {
	_     struct{} `route:"GET /2/hello/:name.json" quota:"ip=1000/h"`
	Name  string   `path:"name" maxLength:"20"`
	Times int      `query:"times" default:"1" min:"1" max:"3"`
}

type greeting struct {
	Text  string `json:"text"`
	Times int    `json:"times"`
}

func Example() {
	api, err := webv4.New(nil)
	if err != nil {
		panic(err)
	}
	webv4.Handle(api, func(ctx context.Context, in *hello) (*greeting, error) {
		return &greeting{"Hello, " + in.Name, in.Times}, nil
	})
	get(api, "/2/hello/ada.json?times=2")
	get(api, "/2/hello/ada.json?times=9")
	// Output:
	// 200 {"text":"Hello, ada","times":2}
	// 400 {"request":"/2/hello/ada.json","error_code":10017,"error":"parameter value invalid: (times) expect (\u003c= 3), but get (9)"}
}

// get shows what the API answers.
func get(api http.Handler, url string, headers ...string) {
	r := httptest.NewRequest("GET", url, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	if s := w.Body.String(); s != "{}\n" {
		fmt.Print(w.Code, " ", s)
	}
}

func ExampleFallback() {
	type timeline struct {
		_ struct{} `route:"GET /timeline.json" degrade:"timeline=fallback"`
	}
	type statuses struct {
		Statuses []string `json:"statuses"`
	}
	w, _ := watchman.New("web", nil)
	api, _ := webv4.New(&webv4.Options{Watchman: w})
	webv4.Handle(api, func(context.Context, *timeline) (*statuses, error) {
		return &statuses{[]string{"fresh"}}, nil
	})
	webv4.Fallback(api, func(context.Context, *timeline) (*statuses, error) {
		return &statuses{[]string{}}, nil
	})
	get(api, "/timeline.json")
	w.SetSwitch("timeline", true, "ops", "the store is slow")
	get(api, "/timeline.json")
	// Output:
	// 200 {"statuses":["fresh"]}
	// 200 {"statuses":[]}
}

// tokens is an Authenticator with one user.
type tokens struct{}

func (tokens) Authenticate(r *http.Request) (webv4.Principal, error) {
	token, err := webv4.AccessToken(r)
	if err != nil {
		return webv4.Principal{}, err
	}
	if !webv4.SecretsEqual(token, "s3cret") {
		return webv4.Principal{}, webv4.ErrTokenInvalid
	}
	return webv4.Principal{ID: "7"}, nil
}

func ExampleAuthenticator() {
	type whoami struct {
		_ struct{} `route:"GET /me.json" auth:"user"`
	}
	type user struct {
		ID string `json:"id"`
	}
	api, _ := webv4.New(&webv4.Options{Authenticator: tokens{}})
	webv4.Handle(api, func(ctx context.Context, _ *whoami) (*user, error) {
		p, _ := webv4.PrincipalFrom(ctx)
		return &user{p.ID}, nil
	})
	get(api, "/me.json", "Authorization", "Bearer s3cret")
	get(api, "/me.json")
	// Output:
	// 200 {"id":"7"}
	// 401 {"request":"/me.json","error_code":21301,"error":"access token missing"}
}

func ExampleErrorf() {
	type show struct {
		_  struct{} `route:"GET /show.json"`
		ID int64    `query:"id" required:"true"`
	}
	api, _ := webv4.New(nil)
	webv4.Handle(api, func(_ context.Context, in *show) (*greeting, error) {
		return nil, &webv4.Error{Status: 404, Code: 20101, Message: "target weibo does not exist"}
	})
	get(api, "/show.json?id=1")
	get(api, "/show.json")
	// Output:
	// 404 {"request":"/show.json","error_code":20101,"error":"target weibo does not exist"}
	// 400 {"request":"/show.json","error_code":10016,"error":"miss required parameter: (id)"}
}

// Two versions of an API, with their own errors and quotas.
func ExampleAPI_Group() {
	type show struct {
		_  struct{} `route:"GET /show.json"`
		ID int64    `query:"id" required:"true"`
	}
	api, _ := webv4.New(nil)
	answer := func(_ context.Context, in *show) (*greeting, error) { return &greeting{Text: "ok"}, nil }
	webv4.Handle(api.Group("/2", nil), answer)
	webv4.Handle(api.Group("/3", &webv4.GroupOptions{Errors: webv4.ProblemErrors, Quotas: "ip=1000/h"}), answer)
	get(api, "/2/show.json")
	get(api, "/3/show.json")
	// Output:
	// 400 {"request":"/2/show.json","error_code":10016,"error":"miss required parameter: (id)"}
	// 400 {"type":"about:blank","title":"miss required parameter","status":400,"detail":"(id)","instance":"/3/show.json","error_code":10016}
}

// An interceptor sees the typed request and reply, and has a tag of its own.
func ExampleAPI_Intercept() {
	type pay struct {
		_      struct{} `route:"GET /pay.json" with:"audit" audit:"money"`
		Amount int      `query:"amount"`
	}
	api, _ := webv4.New(nil)
	api.Intercept("audit", func(ctx context.Context, call *webv4.Call, next webv4.Next) (any, error) {
		out, err := next(ctx)
		fmt.Println(call.Tag("audit"), call.Input().(*pay).Amount, err)
		return out, err
	})
	webv4.Handle(api, func(context.Context, *pay) (*greeting, error) { return &greeting{Text: "paid"}, nil })
	get(api, "/pay.json?amount=5")
	// Output:
	// money 5 <nil>
	// 200 {"text":"paid","times":0}
}

// An operator trims an interface for half an hour.
func ExampleAPI_Degrade() {
	type user struct {
		ID  int    `json:"id"`
		Bio string `json:"bio" trim:"true"`
	}
	type show struct {
		_ struct{} `route:"GET /user.json" degrade:"users=trim,off"`
	}
	api, _ := webv4.New(&webv4.Options{Logger: slog.New(slog.DiscardHandler)})
	webv4.Handle(api, func(context.Context, *show) (*user, error) { return &user{7, "long"}, nil })
	get(api, "/user.json")
	api.Degrade("users", webv4.Degradation{Level: webv4.Trim, TTL: 30 * time.Minute, By: "ada", Why: "New Year"})
	get(api, "/user.json")
	// Output:
	// 200 {"id":7,"bio":"long"}
	// 200 {"id":7}
}

func ExampleEvents() {
	type watch struct {
		_ struct{} `route:"GET /events"`
	}
	api, _ := webv4.New(nil)
	webv4.Handle(api, func(context.Context, *watch) (*webv4.Events, error) {
		return &webv4.Events{Run: func(ctx context.Context, send func(webv4.Event) error) error {
			return send(webv4.Event{Name: "status", Data: "hello"})
		}}, nil
	})
	get(api, "/events")
	// Output:
	// 200 event: status
	// data: hello
}

func ExampleSignHMAC() {
	type order struct {
		_ struct{} `route:"GET /orders.json" auth:"user"`
	}
	secret := []byte("of the application")
	api, _ := webv4.New(&webv4.Options{Authenticator: webv4.NewHMAC(0, func(key string) ([]byte, webv4.Principal, bool) {
		return secret, webv4.Principal{ID: key}, key == "app"
	})})
	webv4.Handle(api, func(ctx context.Context, _ *order) (*greeting, error) {
		p, _ := webv4.PrincipalFrom(ctx)
		return &greeting{Text: "Hello, " + p.ID}, nil
	})
	r := httptest.NewRequest("GET", "/orders.json", nil)
	webv4.SignHMAC(r, "app", secret, nil)
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	fmt.Print(w.Body)
	// Output: {"text":"Hello, app","times":0}
}
