package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"unicode/utf8"

	"github.com/julienschmidt/httprouter"
)

// The checks of the interfaces by hand, for what has no binder of its own.

type handUser struct {
	Name  string   `json:"name"`
	Email string   `json:"email"`
	Age   int      `json:"age"`
	Tags  []string `json:"tags"`
	City  struct {
		Name string `json:"name"`
		Zip  string `json:"zip"`
	} `json:"city"`
}

var emailPattern = regexp.MustCompile("^[^@]+@[^@]+$")

func (u *handUser) ok() bool {
	for _, t := range u.Tags {
		if utf8.RuneCountInString(t) > 20 {
			return false
		}
	}
	n := utf8.RuneCountInString(u.Name)
	return n >= 1 && n <= 50 && emailPattern.MatchString(u.Email) && u.Age >= 0 && u.Age <= 150 && len(u.Tags) <= 8 &&
		utf8.RuneCountInString(u.City.Name) <= 40 && utf8.RuneCountInString(u.City.Zip) <= 10
}

func number(q url.Values, name string, other int) (int, bool) {
	if !q.Has(name) {
		return other, true
	}
	n, err := strconv.Atoi(q.Get(name))
	return n, err == nil
}

func handGet(w http.ResponseWriter, r *http.Request, param string) {
	id, err := strconv.ParseInt(param, 10, 64)
	q := r.URL.Query()
	count, ok1 := number(q, "count", 20)
	_, ok2 := number(q, "page", 1)
	if err != nil || id < 1 || !ok1 || !ok2 || count < 1 || count > 200 {
		http.Error(w, "bad parameter", http.StatusBadRequest)
		return
	}
	handReply(w, answer(id, count))
}

func handPost(w http.ResponseWriter, r *http.Request) {
	var u handUser
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&u); err != nil || !u.ok() {
		http.Error(w, "bad body", http.StatusBadRequest)
		return
	}
	handReply(w, answer(7, u.Age))
}

func handReply(w http.ResponseWriter, u any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	json.NewEncoder(w).Encode(u)
}

func init() {
	register(peer{name: "net-http-by-hand", handler: func() http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) { handGet(w, r, r.PathValue("id")) })
		mux.HandleFunc("POST /users", handPost)
		mux.HandleFunc("GET /timeline", func(w http.ResponseWriter, _ *http.Request) { handReply(w, theTimeline) })
		return mux
	}})
	register(peer{name: "httprouter-by-hand", handler: func() http.Handler {
		rt := httprouter.New()
		rt.GET("/users/:id", func(w http.ResponseWriter, r *http.Request, p httprouter.Params) { handGet(w, r, p.ByName("id")) })
		rt.POST("/users", func(w http.ResponseWriter, r *http.Request, _ httprouter.Params) { handPost(w, r) })
		rt.GET("/timeline", func(w http.ResponseWriter, _ *http.Request, _ httprouter.Params) { handReply(w, theTimeline) })
		return rt
	}})
}
