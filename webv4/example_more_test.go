package webv4_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"

	"github.com/heddle-go/heddle/webv4"
)

// post shows what the API answers to a JSON body.
func post(api *webv4.API, url, body string, headers ...string) {
	r := httptest.NewRequest("POST", url, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	fmt.Print(w.Code, " ", w.Body)
}

func ExampleAPI_Batch() {
	type batch struct {
		_    struct{}           `route:"POST /2/batch.json" timeout:"10s"`
		Body webv4.BatchRequest `body:"" required:"true"`
	}
	api, err := webv4.New(nil)
	if err != nil {
		panic(err)
	}
	webv4.Handle(api, func(_ context.Context, in *hello) (*greeting, error) {
		return &greeting{"Hello, " + in.Name, in.Times}, nil
	})
	webv4.Handle(api, func(ctx context.Context, in *batch) (*webv4.BatchReply, error) { return api.Batch(ctx, &in.Body) })
	post(api, "/2/batch.json", `{"calls":[{"path":"/2/hello/ada.json"},{"path":"/2/nothing.json"}]}`)
	// Output:
	// 200 {"replies":[{"status":200,"headers":{"Ratelimit":"\"ip/h\";r=999;t=4"},"body":{"text":"Hello, ada","times":1}},{"status":404,"body":{"request":"/2/nothing.json","error_code":10020,"error":"request api not found"}}]}
}

func ExampleIdempotencyStore() {
	type pay struct {
		_    struct{} `route:"POST /2/pay.json" auth:"user" idempotent:"24h,required"`
		Body struct {
			Amount int `json:"amount" min:"1"`
		} `body:"" required:"true"`
	}
	type receipt struct {
		Number int `json:"number"`
	}
	api, err := webv4.New(&webv4.Options{Authenticator: webv4.NewAPIKeys("X-Api-Key", map[string]webv4.Principal{"secret": {ID: "7"}})})
	if err != nil {
		panic(err)
	}
	paid := 0
	webv4.Handle(api, func(context.Context, *pay) (*receipt, error) {
		paid++
		return &receipt{paid}, nil
	})
	for range 2 { // the client did not hear of the first
		post(api, "/2/pay.json", `{"amount":5}`, "X-Api-Key", "secret", "Idempotency-Key", "order-5")
	}
	post(api, "/2/pay.json", `{"amount":9}`, "X-Api-Key", "secret", "Idempotency-Key", "order-5")
	// Output:
	// 200 {"number":1}
	// 200 {"number":1}
	// 422 {"request":"/2/pay.json","error_code":10008,"error":"the Idempotency-Key belongs to another request"}
}

func ExampleBreakerStats() {
	type show struct {
		_ struct{} `route:"GET /2/show.json" breaker:"50%/10s,min=5" degrade:"show=fallback"`
	}
	type thing struct {
		Text string `json:"text"`
	}
	api, err := webv4.New(&webv4.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	webv4.Handle(api, func(context.Context, *show) (*thing, error) { return nil, errors.New("the database is gone") })
	webv4.Fallback(api, func(context.Context, *show) (*thing, error) { return &thing{"from memory"}, nil })
	for range 6 {
		get(api, "/2/show.json")
	}
	fmt.Println(api.Stats().Breakers[0].State)
	// Output:
	// 500 {"request":"/2/show.json","error_code":10001,"error":"system error"}
	// 500 {"request":"/2/show.json","error_code":10001,"error":"system error"}
	// 500 {"request":"/2/show.json","error_code":10001,"error":"system error"}
	// 500 {"request":"/2/show.json","error_code":10001,"error":"system error"}
	// 500 {"request":"/2/show.json","error_code":10001,"error":"system error"}
	// 200 {"text":"from memory"}
	// open
}

func ExampleIDPage() {
	type timeline struct {
		_ struct{} `route:"GET /2/timeline.json"`
		webv4.IDPage
	}
	type statuses struct {
		IDs  []int64 `json:"ids"`
		Next int64   `json:"next_cursor"`
	}
	api, err := webv4.New(nil)
	if err != nil {
		panic(err)
	}
	webv4.Handle(api, func(_ context.Context, in *timeline) (*statuses, error) {
		var found []int64 // SELECT … WHERE id > since_id AND id <= max_id ORDER BY id DESC LIMIT in.Limit()
		for id := int64(9); id > 0 && len(found) < in.Limit(); id-- {
			if in.Holds(id) {
				found = append(found, id)
			}
		}
		page, next := webv4.PageOf(&in.IDPage, found, func(id int64) int64 { return id })
		return &statuses{page, next}, nil
	})
	get(api, "/2/timeline.json?count=4&since_id=3")
	get(api, "/2/timeline.json?count=4&since_id=3&max_id=5")
	// Output:
	// 200 {"ids":[9,8,7,6],"next_cursor":5}
	// 200 {"ids":[5,4],"next_cursor":0}
}
