package webv4

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Schema is the JSON Schema (draft 2020-12) of a parameter, body or reply.
type Schema struct {
	Ref         string             `json:"$ref,omitempty"`
	Type        any                `json:"type,omitempty"` // a string, or a list of them
	Format      string             `json:"format,omitempty"`
	Description string             `json:"description,omitempty"`
	Items       *Schema            `json:"items,omitempty"`
	Properties  map[string]*Schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Additional  *Schema            `json:"additionalProperties,omitempty"`
	OneOf       []*Schema          `json:"oneOf,omitempty"`
	Enum        []any              `json:"enum,omitempty"`
	Minimum     json.Number        `json:"minimum,omitempty"`
	Maximum     json.Number        `json:"maximum,omitempty"`
	MinLength   json.Number        `json:"minLength,omitempty"`
	MaxLength   json.Number        `json:"maxLength,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	MinItems    json.Number        `json:"minItems,omitempty"`
	MaxItems    json.Number        `json:"maxItems,omitempty"`
	UniqueItems bool               `json:"uniqueItems,omitempty"`
	Default     any                `json:"default,omitempty"`
	Examples    []any              `json:"examples,omitempty"`
	Encoding    string             `json:"contentEncoding,omitempty"`
	MediaType   string             `json:"contentMediaType,omitempty"`
}

// Description is an interface as its tags declare it.
type Description struct {
	Method     string
	Path       string // as registered: /users/:id.json
	Tag        reflect.StructTag
	Auth       bool
	Scopes     []string
	Quotas     []string // as in the tag, the API's and the groups' among them
	Parameters []Parameter
	Form       []Parameter // fields of a form; In is form or file
	Body       *Schema     // nil: none, or a form
	Required   bool        // the body is
	BodyTypes  []string    // the media types that the body may have; nil without Body
	Reply      *Schema     // nil: the reply writes itself
	ReplyTypes []string    // the media types of the reply: several if Accept decides; nil without Reply
	Twins      []Twin      // the paths that answer in other formats
	Errors     ErrorStyle
	ErrorTypes []string   // the media types of errors: several if Accept decides
	Codes      ErrorCodes // rows of the table of errors that are this version's own
	Deny       bool       // Options.Deny may refuse callers
}

// Twin is the path of an interface that ends in .json, for another format.
type Twin struct {
	Path      string
	MediaType string
}

// Seen is what clients of the interface see of a code of the table of errors.
func (d *Description) Seen(code int) ErrorCode { return rowOf(d.Codes, code) }

// Parameter is one parameter of an interface.
type Parameter struct {
	Name     string
	In       string // path, query, header, cookie, form or file
	Required bool
	List     bool
	Schema   *Schema
	Doc      string
}

// Describe lists the interfaces in the order of their registration, and the
// schemas of named structs that the others refer to as #/components/schemas/NAME.
func (a *API) Describe() ([]Description, map[string]*Schema) {
	b := schemaBuilder{components: map[string]*Schema{}, names: map[*model]string{}}
	var list []Description
	for _, rt := range a.router.list {
		op := rt.op
		if op.plan == nil || op.twin {
			continue
		}
		p := op.plan
		d := Description{
			Method: rt.method, Path: rt.path, Tag: p.tag, Auth: p.auth, Scopes: p.scopes, Errors: op.style, Codes: op.codes,
			Deny: a.deny != nil,
		}
		var errorReply reply
		errorReply.style = op.style
		for errorReply.format = asJSON; errorReply.format == asJSON || op.accepts && errorReply.format == asXML; errorReply.format++ {
			d.ErrorTypes = append(d.ErrorTypes, withoutParameters(errorReply.errorType()[0]))
		}
		for _, q := range op.quotas {
			d.Quotas = append(d.Quotas, q.String())
		}
		for i := range p.fields {
			b.parameter(&d, &p.fields[i])
		}
		if p.selects != "" {
			d.Parameters = append(d.Parameters, Parameter{Name: p.selects, In: "query", Schema: &Schema{Type: "string"}, Doc: "names of the reply's fields, such as id,user.name"})
		}
		if p.trims != "" {
			d.Parameters = append(d.Parameters, Parameter{Name: p.trims, In: "query", Schema: &Schema{Type: "boolean"}, Doc: "true: without what is not always needed"})
		}
		if d.Body != nil {
			d.BodyTypes = p.own.bodyTypes()
		}
		if !op.streams {
			d.Reply, d.ReplyTypes = b.of(op.reply), []string{mediaType(op.own, asJSON)}
			if op.accepts {
				for f := asXML; int(f) < op.own.formats(); f++ {
					d.ReplyTypes = append(d.ReplyTypes, mediaType(op.own, f))
				}
			}
			if base, ok := strings.CutSuffix(rt.path, ".json"); ok {
				for suffix, f := range op.own.suffixes() {
					d.Twins = append(d.Twins, Twin{base + suffix, mediaType(op.own, f)})
				}
			}
		}
		list = append(list, d)
	}
	return list, b.components
}

// mediaType is the type of a format's replies, without parameters.
func mediaType(own *codecs, f format) string { return withoutParameters(own.contentType(f)[0]) }

func withoutParameters(contentType string) string {
	kind, _, _ := strings.Cut(contentType, ";")
	return kind
}

func (b *schemaBuilder) parameter(d *Description, f *field) {
	if f.source == fromBody {
		d.Body, d.Required = b.of(f.body), f.required
		return
	}
	t := f.typ
	if inner, _, _, _, ok := optType(t); ok {
		t = inner
	}
	s := &Schema{Type: "string", Format: "binary"}
	if f.source != fromFile {
		m, _ := modelOf(t)
		s = b.of(m)
		if t == reflect.TypeFor[time.Duration]() {
			s = &Schema{Type: "string", Format: "duration"}
		}
		constrain(s, f.tag, t)
	}
	p := Parameter{
		Name: f.name, In: sourceTags[f.source], Required: f.required || f.source == fromPath, List: f.list, Schema: s, Doc: f.tag.Get("doc"),
	}
	if f.source == fromForm || f.source == fromFile {
		d.Form = append(d.Form, p)
	} else {
		d.Parameters = append(d.Parameters, p)
	}
}

// schemaBuilder makes schemas; named structs become components.
type schemaBuilder struct {
	components map[string]*Schema
	names      map[*model]string
}

func (b *schemaBuilder) of(m *model) *Schema {
	switch m.kind {
	case modelBool:
		return &Schema{Type: "boolean"}
	case modelInt:
		return &Schema{Type: "integer", Format: map[int]string{8: "int64", 4: "int32"}[m.size]}
	case modelUint:
		return &Schema{Type: "integer", Minimum: "0"}
	case modelFloat:
		return &Schema{Type: "number", Format: map[int]string{8: "double", 4: "float"}[m.size]}
	case modelString, modelText:
		return &Schema{Type: "string"}
	case modelBytes:
		return &Schema{Type: "string", Encoding: "base64"}
	case modelTime:
		return &Schema{Type: "string", Format: "date-time"}
	case modelPointer, modelOpt:
		return nullable(b.of(m.elem))
	case modelList:
		// A nil list is written as null.
		return &Schema{Type: []string{"array", "null"}, Items: b.of(m.elem)}
	case modelArray:
		n := json.Number(strconv.Itoa(m.length))
		return &Schema{Type: "array", Items: b.of(m.elem), MinItems: n, MaxItems: n}
	case modelMap:
		return &Schema{Type: []string{"object", "null"}, Additional: b.of(m.elem), Examples: emptyObject}
	case modelStruct:
		return b.structure(m)
	}
	return &Schema{Examples: emptyObject} // anything
}

// emptyObject is an example: of these schemas RapiDoc's page would make null
// itself, and fail at its XML.
var emptyObject = []any{struct{}{}}

// nullable allows null besides what s does.
func nullable(s *Schema) *Schema {
	switch t := s.Type.(type) {
	case string:
		s.Type = []string{t, "null"}
	case nil:
		if s.Ref != "" {
			return &Schema{OneOf: []*Schema{s, {Type: "null"}}}
		}
	}
	return s
}

func (b *schemaBuilder) structure(m *model) *Schema {
	if name, ok := b.names[m]; ok {
		return &Schema{Ref: "#/components/schemas/" + name}
	}
	s := &Schema{Type: "object"}
	name := m.typ.Name()
	if i := strings.IndexByte(name, '['); i >= 0 {
		name = name[:i]
	}
	if name != "" {
		base := name
		for n := 2; b.components[name] != nil; n++ {
			name = base + strconv.Itoa(n)
		}
		b.names[m], b.components[name] = name, s
	}
	for i := range m.fields {
		f := &m.fields[i]
		fs := b.of(f.model)
		t := f.model.typ
		if inner, _, _, _, ok := optType(t); ok {
			t = inner
		}
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if f.quoted {
			fs = f.quotedSchema(t)
		} else {
			constrain(fs, f.tag, t)
		}
		fs.Description = f.tag.Get("doc")
		if s.Properties == nil {
			s.Properties = map[string]*Schema{}
		}
		s.Properties[f.name] = fs
		if f.required {
			s.Required = append(s.Required, f.name)
		}
	}
	if name != "" {
		return &Schema{Ref: "#/components/schemas/" + name}
	}
	return s
}

// quotedSchema is the schema of a value of type t in quotes: of its rules those that
// can be said of a text.
func (f *modelField) quotedSchema(t reflect.Type) *Schema {
	s := &Schema{Type: "string"}
	if t.Kind() != reflect.String { // what is a string already has quotes of its own in there
		constrain(s, f.tag, reflect.TypeFor[string]())
	}
	if f.model.kind == modelPointer {
		return nullable(s)
	}
	return s
}

// constrain adds what tags say of a value of type t.
func constrain(s *Schema, tag reflect.StructTag, t reflect.Type) {
	item := s
	if t.Kind() == reflect.Slice && s.Items != nil {
		item = s.Items
		s.MinItems, s.MaxItems = json.Number(tag.Get("minItems")), json.Number(tag.Get("maxItems"))
		s.UniqueItems = tag.Get("uniqueItems") == "true"
		t = t.Elem()
	}
	isNumber := isInt(t) || isUint(t) || t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64
	if isNumber && t != reflect.TypeFor[time.Duration]() {
		if v, ok := tag.Lookup("min"); ok {
			item.Minimum = json.Number(v)
		}
		item.Maximum = json.Number(tag.Get("max"))
	}
	item.MinLength, item.MaxLength = json.Number(tag.Get("minLength")), json.Number(tag.Get("maxLength"))
	item.Pattern = tag.Get("pattern")
	if f := tag.Get("format"); f != "" {
		item.Format = map[string]string{"ip": ""}[f]
		if f != "ip" {
			item.Format = f
		}
	}
	if e, ok := tag.Lookup("enum"); ok {
		for v := range strings.SplitSeq(e, ",") {
			item.Enum = append(item.Enum, literal(v, t))
		}
	}
	value := func(text string) any {
		if item != s { // a list of one
			return []any{literal(text, t)}
		}
		return literal(text, t)
	}
	if d, ok := tag.Lookup("default"); ok {
		s.Default = value(d)
	}
	if e, ok := tag.Lookup("example"); ok {
		s.Examples = []any{value(e)}
	}
}

// literal is a tag's text as a JSON value of type t.
func literal(s string, t reflect.Type) any {
	number := isInt(t) || isUint(t) || t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64
	if (number || t.Kind() == reflect.Bool) && t != reflect.TypeFor[time.Duration]() && json.Valid([]byte(s)) {
		return json.RawMessage(s)
	}
	return s
}
