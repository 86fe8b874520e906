package openapi

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"html"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/heddle-go/heddle/webv4"
)

// RapiDoc 9.3.8 (MIT, see LICENSE.rapidoc), its rapidoc-min.js compressed.
//
//go:embed rapidoc-min.js.gz
var rapidoc []byte

// page is the documentation page. Its policy lets it talk to its own server only.
// What a person enters of credentials is forgotten when the page is left.
const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>TITLE</title>
<script src="PATH/page.js" defer></script><script type="module" src="PATH/rapidoc.js"></script></head>
<body><rapi-doc spec-url="PATH/openapi.json" render-style="read" schema-style="table" show-header="false" show-method-in-nav-bar="as-colored-text"
 use-path-in-nav-bar="false" allow-spec-file-load="false" allow-spec-url-load="false" allow-server-selection="false" persist-auth="false"
 load-fonts="false" regular-font="system-ui, sans-serif" mono-font="ui-monospace, monospace" primary-color="#1f6feb"></rapi-doc></body></html>
`

// pageScript makes the page as light or dark as the person has the rest.
const pageScript = `const dark = matchMedia("(prefers-color-scheme: dark)");
function follow() { document.querySelector("rapi-doc").setAttribute("theme", dark.matches ? "dark" : "light"); }
dark.addEventListener("change", follow);
follow();
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
	a.Mount("GET "+path+"/page.js", static("text/javascript; charset=utf-8", []byte(pageScript)))
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
