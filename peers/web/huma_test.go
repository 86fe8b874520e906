package web

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

type humaGet struct {
	ID    int64 `path:"id" minimum:"1"`
	Count int   `query:"count" default:"20" minimum:"1" maximum:"200"`
	Page  int   `query:"page" default:"1"`
}

type humaPost struct {
	Body struct {
		Name  string   `json:"name" minLength:"1" maxLength:"50"`
		Email string   `json:"email" pattern:"^[^@]+@[^@]+$"`
		Age   int      `json:"age" minimum:"0" maximum:"150"`
		Tags  []string `json:"tags" maxItems:"8"`
		City  struct {
			Name string `json:"name" maxLength:"40"`
			Zip  string `json:"zip" maxLength:"10"`
		} `json:"city"`
	}
}

type humaReply struct{ Body *user }

type humaTimeline struct{ Body *timeline }

func init() {
	register(peer{name: "huma", handler: newHuma})
	register(peer{name: "huma-guarded", handler: func() http.Handler { return guarded(newHuma()) }})
}

// guarded puts around h what webv4 does for every call and cannot be had
// without: panics caught, a deadline for the handler, counters, and headers
// against guessing types.
func guarded(h http.Handler) http.Handler {
	var requests, failed atomic.Uint64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		defer func() {
			if p := recover(); p != nil {
				failed.Add(1)
				http.Error(w, "system error", http.StatusInternalServerError)
			}
		}()
		ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
		defer cancel()
		w.Header().Set("X-Content-Type-Options", "nosniff")
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

func newHuma() http.Handler {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("bench", "1")
	config.CreateHooks = nil // no $schema links: the lean configuration
	api := humago.New(mux, config)
	huma.Get(api, "/users/{id}", func(_ context.Context, in *humaGet) (*humaReply, error) {
		return &humaReply{answer(in.ID, in.Count)}, nil
	})
	huma.Register(api, huma.Operation{OperationID: "post", Method: "POST", Path: "/users", DefaultStatus: 200}, func(_ context.Context, in *humaPost) (*humaReply, error) {
		return &humaReply{answer(7, in.Body.Age)}, nil
	})
	huma.Get(api, "/timeline", func(context.Context, *struct{}) (*humaTimeline, error) { return &humaTimeline{theTimeline}, nil })
	return mux
}
