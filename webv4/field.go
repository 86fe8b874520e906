package webv4

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"unsafe"
)

// field is one parameter.
type field struct {
	// What every call needs, in one cache line.
	name     string
	set      setter
	offset   uintptr
	bit      uint64 // in the mask of parameters seen
	source   source
	place    int // of a path parameter
	isOpt    bool
	list     bool
	required bool
	hasDef   bool

	optional uintptr // offset of Opt.Set, if isOpt
	def      string
	rules    constraints
	maxSize  int64  // of a file
	room     int64  // the same if its tag says it
	body     *model // of a body
	goName   string
	typ      reflect.Type
	tag      reflect.StructTag
}

// fieldTags reads one parameter's tags.
func (p *plan) fieldTags(sf reflect.StructField, base uintptr, a *API, bad func(string, ...any)) {
	f := field{goName: sf.Name, offset: base + sf.Offset, typ: sf.Type, tag: sf.Tag, source: -1}
	for s, tag := range sourceTags {
		name, ok := sf.Tag.Lookup(tag)
		if !ok {
			continue
		}
		if f.source >= 0 {
			bad("comes from both %s and %s", sourceTags[f.source], tag)
		}
		f.source, f.name = source(s), name
		if name == "" && source(s) != fromBody {
			bad("%s tag without a name", tag)
		}
	}
	checkTag(sf.Tag, fieldTags, bad)
	if f.source < 0 {
		if (sf.IsExported() || sf.Anonymous) && sf.Tag != "" {
			bad("has tags but none of %s", strings.Join(sourceTags[:], ", "))
		}
		return
	}
	for _, tag := range beside {
		if _, ok := sf.Tag.Lookup(tag); ok {
			bad("%s is a tag of the interface: it belongs beside the route", tag)
		}
	}
	if !sf.IsExported() {
		bad("is not exported")
	}
	f.required = boolTag(sf.Tag, "required", bad)
	f.def, f.hasDef = sf.Tag.Lookup("default")
	if f.required && f.hasDef {
		bad("is required and has a default")
	}
	if f.source == fromPath && f.hasDef {
		bad("has a default, but what is in the path is always given")
	}
	if _, ok := sf.Tag.Lookup("maxSize"); ok && f.source != fromFile {
		bad("maxSize is for files")
	}
	switch f.source {
	case fromBody:
		var err error
		if f.body, err = modelOf(sf.Type); err != nil {
			bad("%v", err)
		}
		p.own = a.codecs(sf.Type)
		if codec := p.own.reader(); codec != nil {
			for _, rule := range rulesOf(sf.Tag) {
				if rule != "required" {
					bad("%s is never looked at: the codec for %s reads it", rule, codec.MediaTypes()[0])
				}
			}
			rulesWithin(sf.Type, map[reflect.Type]bool{}, func(t reflect.Type, field, rule string) {
				bad("%s.%s: %s is never looked at: the codec for %s reads it", t, field, rule, codec.MediaTypes()[0])
			})
		} else {
			f.body.unread(map[*model]bool{}, bad)
		}
		if f.body.kind == modelOpt {
			bad("type %s: a body tells by itself whether it is there", sf.Type)
		}
		f.rules = readConstraints(sf.Tag, sf.Type, bad)
		if f.hasDef {
			bad("a body has no default")
		}
	case fromFile:
		if sf.Type != reflect.TypeFor[*File]() {
			bad("type %s: a file needs *webv4.File", sf.Type)
		}
		if f.hasDef {
			bad("a file has no default")
		}
		for _, rule := range constraintTags {
			if _, ok := sf.Tag.Lookup(rule); ok {
				bad("%s is not for files", rule)
			}
		}
		f.maxSize = 1 << 20
		if s := sf.Tag.Get("maxSize"); s != "" {
			var err error
			if f.maxSize, err = parseSize(s); err != nil {
				bad("maxSize %q: %v", s, err)
			}
			f.room = f.maxSize
		}
	case fromHeader:
		f.name = http.CanonicalHeaderKey(f.name)
		fallthrough
	default:
		f.valueTags(sf, bad)
	}
	p.fields = append(p.fields, f)
}

// valueTags reads what concerns parameters that are made of text.
func (f *field) valueTags(sf reflect.StructField, bad func(string, ...any)) {
	t := sf.Type
	if inner, value, set, _, ok := optType(t); ok {
		f.isOpt, f.optional, t = true, f.offset+set, inner
		f.offset += value
	}
	f.list = isList(t)
	f.rules = readConstraints(sf.Tag, t, bad)
	var err error
	if f.set, err = setterOf(t, f.rules.value); err != nil {
		bad("%v", err)
		return
	}
	if f.hasDef {
		if err := tryDefault(f.set, t, f.def, f.rules.list); err != nil {
			bad("default %q: %v", f.def, err)
		}
	}
}

// tryDefault sets a default as each call without a value will.
func tryDefault(set setter, t reflect.Type, def string, rules []rule) error {
	v := reflect.New(t).UnsafePointer()
	if err := set(v, def); err != nil {
		return err
	}
	return check(rules, v)
}

// take stores one value. Of several values for one parameter the first counts,
// unless the parameter is a list.
func (f *field) take(base unsafe.Pointer, value string, seen *uint64) error {
	if *seen&f.bit != 0 {
		if !f.list {
			return nil
		}
		if most := f.rules.maxItems; most > 0 && (*sliceHeader)(unsafe.Add(base, f.offset)).len >= most {
			// Refused before it costs memory.
			return Errorf(CodeInvalid, "(%s) expect (at most %d items), but get (more)", f.name, most)
		}
	}
	if err := f.set(unsafe.Add(base, f.offset), value); err != nil {
		return Errorf(CodeInvalid, "(%s) %v, but get (%s)", f.name, err, shorten(value))
	}
	if f.isOpt {
		*(*bool)(unsafe.Add(base, f.optional)) = true
	}
	*seen |= f.bit
	return nil
}

func boolTag(tag reflect.StructTag, name string, bad func(string, ...any)) bool {
	s, ok := tag.Lookup(name)
	if !ok {
		return false
	}
	if s != "true" && s != "false" {
		bad("%s %q: want true or false", name, s)
	}
	return s == "true"
}

// parseSize reads a number of bytes such as 512, 64KiB or 5MiB.
func parseSize(s string) (int64, error) {
	digits, factor := s, int64(1)
	if d, ok := strings.CutSuffix(s, "KiB"); ok {
		digits, factor = d, 1<<10
	} else if d, ok := strings.CutSuffix(s, "MiB"); ok {
		digits, factor = d, 1<<20
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n <= 0 {
		return 0, errors.New("want a size such as 512, 64KiB or 5MiB")
	}
	return n * factor, nil
}

// bodyError turns an error of reading the body's JSON into the client's.
func (f *field) bodyError(err error) error {
	var v *valueError
	if !errors.As(err, &v) {
		return Errorf(CodeParameter, "the body is not JSON: %v", err)
	}
	if v.path == "" {
		v.path = "body"
	}
	if v.missing {
		return Errorf(CodeMissing, "(%s)", v.path)
	}
	return Errorf(CodeInvalid, "%s", fmt.Sprint(v))
}
