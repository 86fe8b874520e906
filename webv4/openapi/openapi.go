// Package openapi describes an API as an OpenAPI 3.1 document, made from the
// same tags that serve it, and shows it on a page that needs nothing from
// anywhere else.
//
//	openapi.Mount(api, "/docs", openapi.Info{Title: "Statuses", Version: "2"})
//
// serves the page at /docs, the document at /docs/openapi.json and the script,
// RapiDoc 9.3.8, at /docs/rapidoc.js. Call it when everything is registered:
// what comes later is not in it.
//
// Tags of an interface add to it: summary, doc (a longer text), tags (names to
// group by, separated by commas) and id (operationId). Tags of a field: doc and
// example.
package openapi

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/heddle-go/heddle/webv4"
)

// Info is what the document says about the API as a whole.
type Info struct {
	Title       string `json:"title"`
	Version     string `json:"version"`
	Description string `json:"description,omitempty"`
	License     string `json:"-"` // the name of the licence, "" for none
}

// Document returns the OpenAPI 3.1 document of an API, as indented JSON.
func Document(a *webv4.API, info Info) ([]byte, error) {
	descriptions, schemas := a.Describe()
	paths := map[string]map[string]any{}
	auth := false
	for _, d := range descriptions {
		path := template(d.Path)
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(d.Method)] = operation(&d)
		auth = auth || d.Auth
	}
	about := map[string]any{"title": info.Title, "version": info.Version}
	if info.Description != "" {
		about["description"] = info.Description
	}
	if info.License != "" {
		about["license"] = map[string]any{"name": info.License}
	}
	components := map[string]any{}
	all := map[string]any{"Error": errorSchema("integer"), "ErrorWithStringCode": errorSchema("string"), "Problem": problemSchema()}
	for name, s := range schemas {
		all[name] = s
	}
	components["schemas"] = all
	if auth {
		components["securitySchemes"] = map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer"}}
	}
	return json.MarshalIndent(map[string]any{
		"openapi": "3.1.0", "info": about, "servers": []any{map[string]any{"url": "/"}}, "paths": paths, "components": components,
	}, "", "  ")
}

// template writes a path's parameters in braces.
func template(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if p == "" || p[0] != ':' && p[0] != '*' {
			continue
		}
		name, suffix, dotted := strings.Cut(p[1:], ".")
		parts[i] = "{" + name + "}"
		if dotted {
			parts[i] += "." + suffix
		}
	}
	return strings.Join(parts, "/")
}

func operation(d *webv4.Description) map[string]any {
	op := map[string]any{"responses": responses(d), "operationId": operationID(d)}
	if s := d.Tag.Get("summary"); s != "" {
		op["summary"] = s
	} else {
		op["summary"] = d.Method + " " + d.Path
	}
	text := d.Tag.Get("doc")
	if len(d.Quotas) > 0 {
		text = strings.TrimSpace(text + "\n\nQuotas: " + strings.Join(d.Quotas, ", ") + ".")
	}
	if text != "" {
		op["description"] = text
	}
	if t := d.Tag.Get("tags"); t != "" {
		op["tags"] = strings.Split(t, ",")
	}
	if d.Tag.Get("deprecated") == "true" {
		op["deprecated"] = true
	}
	if d.Auth {
		op["security"] = []any{map[string]any{"token": append([]string{}, d.Scopes...)}}
	} else {
		op["security"] = []any{}
	}
	var params []any
	for _, p := range d.Parameters {
		m := map[string]any{"name": p.Name, "in": p.In, "schema": p.Schema}
		if p.Required {
			m["required"] = true
		}
		if p.Doc != "" {
			m["description"] = p.Doc
		}
		if p.List {
			p.Schema.Type = "array"
		}
		params = append(params, m)
	}
	if params != nil {
		op["parameters"] = params
	}
	if body := requestBody(d); body != nil {
		op["requestBody"] = body
	}
	return op
}

// operationID is the interface's tag id, or made of method and path.
func operationID(d *webv4.Description) string {
	if id := d.Tag.Get("id"); id != "" {
		return id
	}
	return strings.Trim(strings.ToLower(d.Method)+strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, d.Path), "_")
}

func requestBody(d *webv4.Description) any {
	if d.Body != nil {
		return map[string]any{"required": d.Required, "content": map[string]any{"application/json": map[string]any{"schema": d.Body}}}
	}
	if len(d.Form) == 0 {
		return nil
	}
	s := &webv4.Schema{Type: "object", Properties: map[string]*webv4.Schema{}}
	kinds := []string{"application/x-www-form-urlencoded", "multipart/form-data"}
	required := false
	for _, p := range d.Form {
		if p.List {
			p.Schema.Type = "array"
		}
		p.Schema.Description = p.Doc
		s.Properties[p.Name] = p.Schema
		if p.Required {
			required = true
			s.Required = append(s.Required, p.Name)
		}
		if p.In == "file" && p.Required {
			kinds = kinds[1:]
		}
	}
	content := map[string]any{}
	for _, k := range kinds {
		content[k] = map[string]any{"schema": s}
	}
	return map[string]any{"required": required, "content": content}
}

func responses(d *webv4.Description) map[string]any {
	content := map[string]any{}
	if d.Reply == nil {
		content["*/*"] = map[string]any{}
	} else {
		content["application/json"] = map[string]any{"schema": d.Reply}
		if d.Negotiated {
			content["application/xml"] = map[string]any{"schema": d.Reply}
			content["application/msgpack"] = map[string]any{"schema": d.Reply}
		}
	}
	r := map[string]any{"200": map[string]any{"description": "success", "content": content}}
	kind, schema := "application/json", "Error"
	switch d.Errors {
	case webv4.ProblemErrors:
		kind, schema = "application/problem+json", "Problem"
	case webv4.WeiboStringErrors:
		schema = "ErrorWithStringCode"
	}
	fail := func(status int, text string) {
		r[strconv.Itoa(status)] = map[string]any{"description": text, "content": map[string]any{
			kind: map[string]any{"schema": map[string]any{"$ref": "#/components/schemas/" + schema}},
		}}
	}
	fail(400, "a parameter is missing or not as it should be")
	fail(500, "system error")
	fail(503, "too busy, degraded, or not done in time")
	if d.Auth {
		fail(401, "it is not known who calls")
		fail(403, "the caller may not do this")
	}
	if len(d.Quotas) > 0 {
		fail(429, "a quota is exhausted")
	}
	if d.Body != nil || len(d.Form) > 0 {
		fail(413, "the body is too long")
		fail(415, "the body is of another media type")
	}
	return r
}

func errorSchema(code string) any {
	return map[string]any{
		"type": "object", "required": []string{"request", "error_code", "error"},
		"properties": map[string]any{
			"request": map[string]any{"type": "string"}, "error_code": map[string]any{"type": code}, "error": map[string]any{"type": "string"},
		},
	}
}

func problemSchema() any {
	return map[string]any{
		"type": "object", "required": []string{"type", "title", "status", "instance", "error_code"},
		"properties": map[string]any{
			"type": map[string]any{"type": "string"}, "title": map[string]any{"type": "string"}, "status": map[string]any{"type": "integer"},
			"detail": map[string]any{"type": "string"}, "instance": map[string]any{"type": "string"}, "error_code": map[string]any{"type": "integer"},
		},
	}
}

// RapiDoc 9.3.8 (MIT, see LICENSE.rapidoc), its rapidoc-min.js compressed.
//
//go:embed rapidoc-min.js.gz
var rapidoc []byte

// page is the documentation page. Its policy lets it talk to its own server only.
const page = `<!doctype html>
<html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>TITLE</title><script type="module" src="PATH/rapidoc.js"></script></head>
<body><rapi-doc spec-url="PATH/openapi.json" render-style="read" show-header="false" allow-spec-file-load="false" allow-spec-url-load="false" load-fonts="false" theme="light"></rapi-doc></body></html>
`

const policy = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Mount serves the documentation below path. It panics if the path is taken or
// the document cannot be made.
func Mount(a *webv4.API, path string, info Info) {
	doc, err := Document(a, info)
	if err != nil {
		panic("openapi: " + err.Error())
	}
	text := strings.NewReplacer("TITLE", html.EscapeString(info.Title), "PATH", html.EscapeString(path)).Replace(page)
	a.Mount("GET "+path, static("text/html; charset=utf-8", []byte(text)))
	a.Mount("GET "+path+"/openapi.json", static("application/json; charset=utf-8", doc))
	a.Mount("GET "+path+"/rapidoc.js", http.HandlerFunc(script))
}

func static(kind string, body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", policy)
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})
}

func script(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "max-age=86400")
	h.Set("Vary", "Accept-Encoding")
	if slices.ContainsFunc(r.Header["Accept-Encoding"], func(s string) bool { return strings.Contains(s, "gzip") }) {
		h.Set("Content-Encoding", "gzip")
		_, _ = w.Write(rapidoc)
		return
	}
	z, err := gzip.NewReader(bytes.NewReader(rapidoc))
	if err == nil {
		_, _ = io.Copy(w, z)
	}
}
