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
// People try the API from the page: it has a form for each call, with a place
// for the credentials of each of Info.Schemes.
//
// Tags of an interface add to it: summary, doc (a longer text), tags (names to
// group by, separated by commas), id (operationId), security (names of the
// Info.Schemes that know its callers, separated by commas; all of them without
// it) and replies (what the handler answers with of its own, separated by commas:
// of 201, 404 and the like those below 400 stand instead of 200). Tags of a
// field: doc and example.
package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/heddle-go/heddle/webv4"
)

// Info is what the document says about the API as a whole.
type Info struct {
	Title       string
	Version     string
	Description string
	License     string // the name of the licence, "" for none
	LicenseURL  string // where its text is, "" if that is not said
	Contact     Contact

	// Schemes are the ways in which interfaces with auth:"user" know who calls. nil
	// means one, a bearer token.
	Schemes []Scheme

	// Tags explain the names that the tag tags of interfaces have.
	Tags map[string]string
}

// Contact is whom to ask about the API.
type Contact struct {
	Name  string `json:"name,omitempty"`
	URL   string `json:"url,omitempty"`
	Email string `json:"email,omitempty"`
}

// Document returns the OpenAPI 3.1 document of an API, as indented JSON.
func Document(a *webv4.API, info Info) ([]byte, error) {
	if info.Schemes == nil {
		info.Schemes = []Scheme{Bearer("token", "")}
	}
	descriptions, schemas := a.Describe()
	paths := map[string]map[string]any{}
	auth := false
	groups := maps.Clone(info.Tags)
	same := templates{}
	ids, err := operationIDs(descriptions)
	if err != nil {
		return nil, err
	}
	for i, d := range descriptions {
		path := same.settle(&d)
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		op, err := operation(&d, info.Schemes)
		if err != nil {
			return nil, err
		}
		op["operationId"] = ids[i]
		paths[path][strings.ToLower(d.Method)] = op
		auth = auth || d.Auth
		for _, name := range names(d.Tag.Get("tags")) {
			if _, ok := groups[name]; !ok {
				if groups == nil {
					groups = map[string]string{}
				}
				groups[name] = ""
			}
		}
	}
	doc := map[string]any{
		"openapi": "3.1.0", "info": info.object(), "servers": []any{map[string]any{"url": "/"}}, "paths": paths,
	}
	if len(groups) > 0 {
		var list []any
		for _, name := range slices.Sorted(maps.Keys(groups)) {
			list = append(list, described(map[string]any{"name": name}, groups[name]))
		}
		doc["tags"] = list
	}
	all := maps.Clone(errorSchemas)
	for name, s := range schemas {
		all[name] = s
	}
	used := map[string]any{}
	if err := collect(paths, all, used); err != nil {
		return nil, err
	}
	components := map[string]any{"schemas": used}
	if auth {
		components["securitySchemes"] = schemeObjects(info.Schemes)
	}
	doc["components"] = components
	return json.MarshalIndent(doc, "", "  ")
}

// reference is how a schema is referred to in JSON.
var reference = regexp.MustCompile(`"\$ref":"#/components/schemas/([^"]+)"`)

// collect adds the schemas that v refers to, and those that they refer to.
func collect(v any, all, used map[string]any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	for _, m := range reference.FindAllSubmatch(text, -1) {
		name := string(m[1])
		if used[name] != nil || all[name] == nil {
			continue
		}
		used[name] = all[name]
		if err := collect(all[name], all, used); err != nil {
			return err
		}
	}
	return nil
}

// object is the document's info.
func (i *Info) object() any {
	m := described(map[string]any{"title": i.Title, "version": i.Version}, i.Description)
	if i.License != "" {
		license := map[string]any{"name": i.License}
		if i.LicenseURL != "" {
			license["url"] = i.LicenseURL
		}
		m["license"] = license
	}
	if i.Contact != (Contact{}) {
		m["contact"] = i.Contact
	}
	return m
}

// described adds a description, if there is one.
func described(m map[string]any, text string) map[string]any {
	if text != "" {
		m["description"] = text
	}
	return m
}

// names splits a list in a tag.
func names(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func operation(d *webv4.Description, schemes []Scheme) (map[string]any, error) {
	replies, err := responses(d)
	if err != nil {
		return nil, err
	}
	op := map[string]any{"responses": replies}
	if s := d.Tag.Get("summary"); s != "" {
		op["summary"] = s
	} else {
		op["summary"] = d.Method + " " + d.Path
	}
	text := d.Tag.Get("doc")
	if text == "" {
		text = op["summary"].(string)
	}
	if len(d.Scopes) > 0 {
		text += "\n\nScopes: " + strings.Join(d.Scopes, ", ") + "."
	}
	if len(d.Quotas) > 0 {
		text += "\n\nQuotas: " + strings.Join(d.Quotas, ", ") + "."
	}
	if len(d.Twins) > 0 {
		var twins []string
		for _, t := range d.Twins {
			twins = append(twins, t.MediaType+" at "+template(t.Path))
		}
		text += "\n\nAlso as " + strings.Join(twins, ", ") + "."
	}
	op["description"] = text
	if t := names(d.Tag.Get("tags")); t != nil {
		op["tags"] = t
	}
	if d.Tag.Get("deprecated") == "true" {
		op["deprecated"] = true
	}
	if op["security"], err = security(d, schemes); err != nil {
		return nil, err
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
	if d.Tag.Get("idempotent") != "" {
		params = append(params, map[string]any{
			"name": "Idempotency-Key", "in": "header", "description": "A request with a key is carried out once; sent again it gets the same reply.",
			"schema": map[string]any{"type": "string", "minLength": 1, "maxLength": 255},
		})
	}
	if params != nil {
		op["parameters"] = params
	}
	if body := requestBody(d); body != nil {
		op["requestBody"] = body
	}
	return op, nil
}

// operationIDs are the interfaces' tags id, or made of method and path; each
// stands for one interface.
func operationIDs(list []webv4.Description) ([]string, error) {
	ids := make([]string, len(list))
	owner := map[string]*webv4.Description{}
	for i := range list {
		d := &list[i]
		id := d.Tag.Get("id")
		if id == "" {
			continue
		}
		if first := owner[id]; first != nil {
			return nil, fmt.Errorf("openapi: %s %s and %s %s have the same tag id, %q", first.Method, first.Path, d.Method, d.Path, id)
		}
		owner[id], ids[i] = d, id
	}
	for i := range list {
		if ids[i] != "" {
			continue
		}
		made := madeID(&list[i])
		id := made
		for n := 2; owner[id] != nil; n++ {
			id = made + "_" + strconv.Itoa(n)
		}
		owner[id], ids[i] = &list[i], id
	}
	return ids, nil
}

func madeID(d *webv4.Description) string {
	return strings.Trim(strings.ToLower(d.Method)+strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, d.Path), "_")
}

func requestBody(d *webv4.Description) any {
	if d.Body != nil {
		return map[string]any{"required": d.Required, "content": contents(d.BodyTypes, d.Body)}
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

// contents is a body of one schema in each of its media types.
func contents(kinds []string, schema any) map[string]any {
	m := map[string]any{}
	for _, kind := range kinds {
		m[kind] = map[string]any{"schema": schema}
	}
	return m
}

// responses are the interface's own replies and those of the chain before it.
func responses(d *webv4.Description) (map[string]any, error) {
	content := contents(d.ReplyTypes, d.Reply)
	if d.Reply == nil {
		content["*/*"] = map[string]any{}
	}
	r := map[string]any{}
	fail := func(status int, text string) {
		r[strconv.Itoa(status)] = map[string]any{"description": text, "content": errorContent(d)}
	}
	succeed := func(status int) {
		m := map[string]any{"description": strings.ToLower(http.StatusText(status))}
		if status != http.StatusNoContent && status != http.StatusNotModified && status/100 != 3 {
			m["content"] = content
		}
		r[strconv.Itoa(status)] = m
	}
	for status, text := range refusals(d) {
		fail(status, text)
	}
	if d.Tag.Get("idempotent") != "" {
		fail(409, "the first request with this key is under way")
		fail(422, "the key belongs to another request")
	}
	good := false
	for _, s := range names(d.Tag.Get("replies")) {
		switch status, err := strconv.Atoi(strings.TrimSpace(s)); {
		case err != nil || http.StatusText(status) == "":
			return nil, fmt.Errorf("openapi: %s %s: tag replies: %q is no status", d.Method, d.Path, s)
		case status < 400:
			good = true
			succeed(status)
		default:
			fail(status, strings.ToLower(http.StatusText(status)))
		}
	}
	if !good {
		succeed(http.StatusOK)
	}
	if d.Tag.Get("etag") == "true" {
		succeed(http.StatusNotModified)
	}
	return r, nil
}

// refusals are what the chain answers in the handler's place, by status, with the
// codes that this version of the API has for it.
func refusals(d *webv4.Description) map[int]string {
	texts := map[int][]string{}
	codes := map[int][]int{}
	refuse := func(text string, of ...int) {
		for _, code := range of {
			seen := d.Seen(code)
			if !slices.Contains(texts[seen.Status], text) {
				texts[seen.Status] = append(texts[seen.Status], text)
			}
			if !slices.Contains(codes[seen.Status], seen.Code) {
				codes[seen.Status] = append(codes[seen.Status], seen.Code)
			}
		}
	}
	refuse("a parameter is missing or not as it should be", webv4.CodeParameter, webv4.CodeMissing, webv4.CodeInvalid)
	refuse("system error", webv4.CodeSystem)
	refuse("too busy, degraded, or not done in time", webv4.CodeUnavailable, webv4.CodeBusy, webv4.CodeExpired)
	if d.Auth {
		refuse("it is not known who calls", webv4.CodeTokenMissing, webv4.CodeTokenExpired, webv4.CodeTokenInvalid)
		refuse("the caller may not do this", webv4.CodeAppPermission, webv4.CodePermission)
	}
	if d.Deny {
		refuse("this address may not call", webv4.CodeIPDenied)
	}
	if len(d.Quotas) > 0 {
		refuse("a quota is exhausted", webv4.CodeIPLimit, webv4.CodeUserLimit, webv4.CodeUserAPILimit)
	}
	if d.Body != nil || len(d.Form) > 0 {
		refuse("the body is too long", webv4.CodeTooLong)
		refuse("the body is of another media type", webv4.CodeMediaType)
	}
	all := map[int]string{}
	for status, list := range texts {
		slices.Sort(codes[status])
		all[status] = strings.Join(list, "; ") + " (" + strings.ReplaceAll(strings.Trim(fmt.Sprint(codes[status]), "[]"), " ", ", ") + ")"
	}
	return all
}

// errorContent is an error's body: XML for those who have chosen it, else JSON.
func errorContent(d *webv4.Description) map[string]any {
	m := map[string]any{}
	for _, kind := range d.ErrorTypes {
		schema := "Error"
		switch {
		case d.Errors == webv4.ProblemErrors:
			schema = "Problem"
		case kind == "application/xml":
			schema = "ErrorInXML"
		case d.Errors == webv4.WeiboStringErrors:
			schema = "ErrorWithStringCode"
		}
		m[kind] = map[string]any{"schema": map[string]any{"$ref": "#/components/schemas/" + schema}}
	}
	return m
}

var errorSchemas = map[string]any{
	"Error": errorSchema("integer", "error"), "ErrorWithStringCode": errorSchema("string", "error"), "ErrorInXML": errorSchema("integer", "error_text"),
	"Problem": problemSchema(),
}

func errorSchema(code, text string) any {
	return map[string]any{
		"type": "object", "required": []string{"request", "error_code", text},
		"properties": map[string]any{
			"request": map[string]any{"type": "string"}, "error_code": map[string]any{"type": code}, text: map[string]any{"type": "string"},
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
