package web

import (
	"context"
	"net/http"

	"github.com/heddle-go/heddle/webv4"
)

type webv4Get struct {
	_     struct{} `route:"GET /users/:id"`
	ID    int64    `path:"id" min:"1"`
	Count int      `query:"count" default:"20" min:"1" max:"200"`
	Page  int      `query:"page" default:"1"`
}

type webv4Post struct {
	_    struct{} `route:"POST /users"`
	Body struct {
		Name  string   `json:"name" required:"true" minLength:"1" maxLength:"50"`
		Email string   `json:"email" required:"true" pattern:"^[^@]+@[^@]+$"`
		Age   int      `json:"age" min:"0" max:"150"`
		Tags  []string `json:"tags" maxItems:"8" maxLength:"20"`
		City  struct {
			Name string `json:"name" maxLength:"40"`
			Zip  string `json:"zip" maxLength:"10"`
		} `json:"city"`
	} `body:"" required:"true"`
}

type webv4Timeline struct {
	_ struct{} `route:"GET /timeline"`
}

func init() {
	register(peer{name: "webv4", handler: func() http.Handler {
		a, err := webv4.New(nil)
		if err != nil {
			panic(err)
		}
		webv4.Handle(a, func(_ context.Context, in *webv4Get) (*user, error) { return answer(in.ID, in.Count), nil })
		webv4.Handle(a, func(_ context.Context, in *webv4Post) (*user, error) { return answer(7, in.Body.Age), nil })
		webv4.Handle(a, func(context.Context, *webv4Timeline) (*timeline, error) { return theTimeline, nil })
		return a
	}})
}
