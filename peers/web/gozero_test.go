package web

import (
	"net/http"

	"github.com/zeromicro/go-zero/rest/httpx"
	"github.com/zeromicro/go-zero/rest/router"
)

type zeroGet struct {
	ID    int64 `path:"id,range=[1:]"`
	Count int   `form:"count,default=20,range=[1:200]"`
	Page  int   `form:"page,default=1"`
}

type zeroPost struct {
	Name  string   `json:"name"`
	Email string   `json:"email"`
	Age   int      `json:"age,range=[0:150]"`
	Tags  []string `json:"tags,optional"`
	City  struct {
		Name string `json:"name,optional"`
		Zip  string `json:"zip,optional"`
	} `json:"city,optional"`
}

// go-zero's router and binder; its default chain is not in this.
func init() {
	register(peer{name: "go-zero-router", handler: func() http.Handler {
		rt := router.NewRouter()
		must := func(err error) {
			if err != nil {
				panic(err)
			}
		}
		must(rt.Handle("GET", "/users/:id", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var in zeroGet
			if err := httpx.Parse(r, &in); err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			httpx.OkJson(w, answer(in.ID, in.Count))
		})))
		must(rt.Handle("POST", "/users", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var in zeroPost
			if err := httpx.Parse(r, &in); err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			httpx.OkJson(w, answer(7, in.Age))
		})))
		must(rt.Handle("GET", "/timeline", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { httpx.OkJson(w, theTimeline) })))
		return rt
	}})
}
