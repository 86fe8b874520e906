package webv4_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

// refused checks that registering Req fails and that the text names all of wants.
func refused[Req any](t *testing.T, wants ...string) {
	t.Helper()
	text := panics(t, func() {
		webv4.Handle(newAPI(t, &webv4.Options{Authenticator: users{}}), func(context.Context, *Req) (*empty, error) { return nil, nil })
	})
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("nothing about %q in:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\n") + 1; n != len(wants) {
		t.Errorf("%d mistakes, want %d:\n%s", n, len(wants), text)
	}
}

// Rules that contradict each other or their default, or that no schema can state,
// are found at registration.
func TestContradictions(t *testing.T) {
	type body struct {
		A []string `json:"a" default:"x" minItems:"2"`
		B *float64 `json:"b" min:"1.5" max:"1.25"`
		C string   `json:"c" trim:"yes"`
	}
	type in struct {
		_  struct{}      `route:"POST /c/:path" auth:"user" etag:"true" deprecated:"yes"`
		A  int           `query:"a" min:"10" max:"9"`
		B  uint64        `query:"b" min:"18446744073709551615" max:"18446744073709551614"`
		D  time.Duration `query:"d" min:"1m" max:"59s"`
		F  float64       `query:"f" min:"NaN" max:"0x1p4"`
		G  int           `query:"g" min:"+5"`
		H  int           `query:"h" max:"007"`
		L  string        `query:"l" minLength:"5" maxLength:"4"`
		M  string        `query:"m" minLength:"+1"`
		N  []int         `query:"n" minItems:"3" maxItems:"2"`
		O  []int         `query:"o" minItems:"2" default:"1"`
		P  int           `query:"p" max:"5" default:"6"`
		Q  string        `query:"q" enum:""`
		R  string        `query:"r" enum:"a,b,a"`
		S  int           `query:"s" enum:"1,20" max:"10"`
		T  string        `query:"t" enum:"red,blue" maxLength:"3"`
		U  string        `query:"u" enum:"a,b" default:"c"`
		V  string        `query:"v" maxSize:"1KiB"`
		W  string        `query:"w" required:"yes"`
		X  string        `path:"path" default:"x"`
		Y  string        `query:"y" pattern:"["`
		B1 body          `body:"" maxSize:"2MiB"`
	}
	refused[in](t,
		"etag: only a GET", `in: deprecated "yes"`,
		`in.A: min "10" is above max "9"`, `in.B: min "18446744073709551615" is above max`, `in.D: min "1m" is above max "59s"`,
		`in.F: min "NaN": want a number`, `in.F: max "0x1p4": want a number`, `in.G: min "+5": want a number`, `in.H: max "007": want a number`,
		`in.L: minLength "5" is above maxLength "4"`, `in.M: minLength "+1"`, `in.N: minItems "3" is above maxItems "2"`,
		`in.O: default "1": expect (at least 2 items)`, `in.P: default "6": expect (<= 5)`, `in.Q: enum "": want the values`,
		`in.R: enum "a,b,a" has "a" twice`, `in.S: enum "1,20": "20" breaks another rule: expect (<= 10)`,
		`in.T: enum "red,blue": "blue" breaks another rule`, `in.U: default "c": expect (a,b)`, "in.V: maxSize is for files", `in.W: required "yes"`,
		"in.X: has a default, but", `in.Y: pattern "["`,
		"in.B1: maxSize is for files", `body.A: default "x": expect (at least 2 items)`, `body.B: min "1.5" is above max "1.25"`, `body.C: trim "yes"`,
	)
	type file struct {
		_ struct{}    `route:"POST /f"`
		F *webv4.File `file:"f" minLength:"1" default:"x"`
	}
	refused[file](t, "file.F: minLength is not for files", "file.F: a file has no default")
	type pairs struct {
		A []any  `json:"a" uniqueItems:"true"`
		B []*int `json:"b" uniqueItems:"true"`
		C []struct {
			V any `json:"v"`
		} `json:"c" uniqueItems:"true"`
	}
	type unique struct {
		_ struct{} `route:"POST /u"`
		B pairs    `body:""`
	}
	refused[unique](t, `pairs.A: uniqueItems "true"`, `pairs.B: uniqueItems "true"`, `pairs.C: uniqueItems "true"`)
}

// A tag that is hardly anything but one of this package's misspelt would be a rule
// that does not hold.
func TestMisspeltTags(t *testing.T) {
	type body struct {
		A string `json:"a" requierd:"true"`
		B string `json:"b" maxlenght:"5"`
	}
	type in struct {
		_ struct{} `route:"POST /m" quotas:"ip=1/h" athu:"user" Timeout:"3s" sumary:"x"`
		A string   `qurey:"a"`
		B string   `query:"b" requierd:"true"`
		C string   `query:"c" maxlenght:"3"`
		D string   `query:"d" min_length:"3"`
		E string   `query:"e" deafult:"x"`
		F string   `query:"f" Enum:"x"`
		G string   `query:"g" patern:"x"`
		H string   `query:"h" auth:"user"`
		b int      `haeder:"b"`
		K body     `body:""`
	}
	_ = in{}.b
	refused[in](t,
		"in: unknown tag quotas: is it quota?", "in: unknown tag athu: is it auth?", "in: unknown tag Timeout: is it timeout?", "in: unknown tag sumary: is it summary?",
		"in.A: unknown tag qurey: is it query?", "in.A: has tags but none of", "in.B: unknown tag requierd: is it required?",
		"in.C: unknown tag maxlenght: is it maxLength?", "in.D: unknown tag min_length: is it minLength?", "in.E: unknown tag deafult: is it default?",
		"in.F: unknown tag Enum: is it enum?", "in.G: unknown tag patern: is it pattern?", "in.H: auth is a tag of the interface",
		"in.b: unknown tag haeder: is it header?",
		"body.A: unknown tag requierd: is it required?", "body.B: unknown tag maxlenght: is it maxLength?",
	)
}

// Tags of other packages, and of interceptors, are nobody's business here.
func TestForeignTags(t *testing.T) {
	type body struct {
		ID   int    `json:"id" xml:"id" yaml:"id" toml:"id" bson:"_id" gorm:"primaryKey" db:"id" validate:"gt=0" binding:"required" orm:"id" xorm:"pk"`
		Name string `json:"name" mapstructure:"name" protobuf:"bytes,1" msgpack:"n" redis:"n" env:"NAME" envDefault:"x" csv:"name" enums:"a,b" examples:"a"`
		Map  string `json:"map" map:"a" mod:"trim" conform:"trim" faker:"name" swaggertype:"string" param:"x" uri:"x" url:"x" schema:"x" parquet:"x"`
	}
	type in struct {
		_    struct{} `route:"POST /foreign" role:"admin" roles:"a b" expires:"1m" host:"x" audit:"true" post:"x" note:"x"`
		A    int      `query:"a" json:"-" gorm:"-" validate:"min=1" koanf:"a" long:"a"`
		Body body     `body:""`
	}
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *in) (*empty, error) { return nil, nil })
	if r := do(t, a, "POST /foreign?a=1", `{"id":1}`, jsonBody); r.status != 200 {
		t.Errorf("%+v", r)
	}
}

type Paging struct {
	Count int `query:"count"`
}

type declared struct {
	_ struct{} `auth:"user"`
}

type commented struct {
	Text string `query:"text"`
}

// Declarations in places where nobody reads them are refused: a struct that an
// embedded pointer would lead to, and tags of the interface away from its route.
func TestDeclarationsOutOfPlace(t *testing.T) {
	type in struct {
		_ struct{} `route:"GET /%41/x" select:"fields"`
		_ struct{} `auth:"user" quota:"user=1/h"`
		*Paging
		declared
		commented `doc:"x"`
		Fields    string `query:"fields"`
	}
	refused[in](t,
		`path "/%41/x": want a / first`, "in: auth on a second field _", "in: quota on a second field _",
		"in.Paging: has parameters, and nothing makes what the pointer points at: embed webv4_test.Paging itself",
		"declared._: auth on a second field _", "in.commented: has tags but none of", "select and Fields both take query fields",
	)
	type logger struct{ Name string }
	type fine struct {
		_       struct{} `route:"GET /fine"`
		*logger          // no parameters: the application's own
	}
	_, _ = in{}.declared, fine{}.logger
	webv4.Handle(newAPI(t, nil), func(context.Context, *fine) (*empty, error) { return nil, nil })
}
