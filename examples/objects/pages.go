package main

import (
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"slices"

	"github.com/heddle-go/heddle/objstore"
)

// shown is how many objects of each type the page shows.
const shown = 50

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Objects</title>
<style>:root{color-scheme:light dark}body{font:16px system-ui;margin:2em auto;padding:0 1em;max-width:60em}img,video{max-width:min(20em,100%);max-height:15em;display:block}li{margin:1em 0}</style>
<h1>Objects</h1><ul>
{{range .}}<li><b>{{.DisplayName}}</b> <a href="/object/{{.ID}}">{{.ID}}</a> <a href="/object/{{.ID.Short}}">{{.ID.Short}}</a>
{{if eq .Type "image"}}<a href="/content/{{.ID}}"><img src="/content/{{.ID}}" alt="{{.DisplayName}}"></a>
{{else if eq .Type "video"}}<video controls preload="metadata" src="/content/{{.ID}}"></video>
{{else}}<p>{{.Summary}} <a href="/content/{{.ID}}">all</a></p>{{end}}</li>
{{end}}</ul></html>
`))

// pages serves the list, the objects' JSON, and their contents.
func (l *library) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", l.list)
	mux.HandleFunc("GET /object/{id}", l.object)
	mux.HandleFunc("GET /content/{id}", l.content)
	return mux
}

// list shows the newest objects.
func (l *library) list(w http.ResponseWriter, r *http.Request) {
	opts := &objstore.ScanOptions{Reverse: true, Limit: shown}
	var metas []*objstore.Meta
	var errs [3]error
	for obj, err := range l.pictures.Scan(r.Context(), opts) {
		if errs[0] = err; err == nil {
			metas = append(metas, &obj.Meta)
		}
	}
	for obj, err := range l.videos.Scan(r.Context(), opts) {
		if errs[1] = err; err == nil {
			metas = append(metas, &obj.Meta)
		}
	}
	for obj, err := range l.articles.Scan(r.Context(), opts) {
		if errs[2] = err; err == nil {
			metas = append(metas, &obj.Meta)
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		fail(w, r, err)
		return
	}
	slices.SortFunc(metas, func(a, b *objstore.Meta) int { return b.Created.Compare(a.Created) })
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := page.Execute(w, metas); err != nil {
		slog.Warn("page not written", "err", err)
	}
}

// object answers with an object's JSON.
func (l *library) object(w http.ResponseWriter, r *http.Request) {
	_, obj, err := l.find(r.Context(), r.PathValue("id"))
	if err != nil {
		fail(w, r, err)
		return
	}
	b, err := json.MarshalIndent(obj, "", "  ")
	if err != nil {
		fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

// content answers with an object's content, whole or in ranges, or with where it
// is in the bucket.
func (l *library) content(w http.ResponseWriter, r *http.Request) {
	meta, _, err := l.find(r.Context(), r.PathValue("id"))
	if err != nil {
		fail(w, r, err)
		return
	}
	if l.signed {
		address, err := l.address(r.Context(), meta)
		if err != nil {
			fail(w, r, err)
			return
		}
		http.Redirect(w, r, address, http.StatusFound)
		return
	}
	info := meta.Content(content)
	src, err := l.OpenContent(r.Context(), info)
	if err != nil {
		fail(w, r, err)
		return
	}
	defer src.Close()
	h := w.Header()
	// What somebody uploaded must not run here.
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", info.Type)
	h.Set("ETag", `"`+info.SHA256.String()+`"`)
	http.ServeContent(w, r, "", meta.Updated, src)
}

// fail answers with what is the client's business of an error.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, objstore.ErrNotFound), errors.Is(err, objstore.ErrBadID):
		http.Error(w, "no such object", http.StatusNotFound)
	default:
		slog.Warn("request failed", "path", r.URL.Path, "err", err)
		http.Error(w, "failed", http.StatusInternalServerError)
	}
}
