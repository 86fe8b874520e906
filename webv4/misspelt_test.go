package webv4

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// go vet would not let a struct have these tags.
func TestTagKeys(t *testing.T) {
	for tag, want := range map[string][]string{
		"": nil, `a:"1"`: {"a"}, `  a:"1"  b:"x \" y" `: {"a", "b"}, `a:"1"b:"2"`: {"a", "b"}, `a:""`: {"a"},
	} {
		if got, ok := tagKeys(tag); !ok || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v", tag, got, ok)
		}
	}
	for _, tag := range []string{`a`, `a:`, `a: "1"`, `a:1`, `a:"1`, `:"1"`, "a:`1`", `a:"1" b`, `a b:"1"`, `a:'1'`} {
		if got, ok := tagKeys(tag); ok {
			t.Errorf("%s: taken as %q", tag, got)
		}
	}
}

// foreignKeys are the keys of struct tags of packages that people use beside this one.
const foreignKeys = `
	json xml yaml toml bson msgpack msg codec cbor asn1 plist hcl cty ini properties avro parquet arrow csv tsv excel protobuf protobuf_key
	protobuf_val protobuf_oneof thrift jsonapi graphql
	gorm db sql orm xorm pg bun ent pk table column index unique relation dynamodbav dynamo datastore firestore bigquery spanner elastic redis
	neo4j ch
	validate valid binding vd check conform mod modifiers regexp oneof reg
	form uri url param params schema mapstructure structs reqHeader respHeader raw_body file_name contentType hidden
	env envconfig envDefault envPrefix envSeparator split_words koanf config conf flag flags short long arg args name help cmd command usage
	positional alias placeholder group optional options option
	swaggertype swaggerignore swagger extensions description desc title label comment note example examples enums minimum maximum
	exclusiveMinimum exclusiveMaximum multipleOf readOnly writeOnly nullable jsonschema jsonschema_description jsonschema_extras
	map mapper mapto faker fake fakesize hash copier deepcopier copy mask redact sensitive log inject wire dig survey prompt
	locale i18n date timezone role roles perm permission audit host expires post version since until
`

// No tag of another package is taken for a slip of one of this package's.
func TestForeignKeys(t *testing.T) {
	for _, key := range strings.Fields(foreignKeys) {
		tag := reflect.StructTag(fmt.Sprintf(`%s:"x"`, key))
		for where, known := range map[string][]string{"beside a route": interfaceTags, "on a field": fieldTags} {
			checkTag(tag, known, func(format string, args ...any) { t.Errorf("%s: "+format, append([]any{where}, args...)...) })
		}
	}
}

// Of a tag that is there twice only the first counts; those of others are theirs.
func TestTwiceInATag(t *testing.T) {
	for tag, want := range map[string]int{
		`minLength:"1" minLength:"2"`: 1, `json:"a" json:"b"`: 1, `gorm:"a" gorm:"b"`: 0, `query:"a" json:"a" query:"b" query:"c"`: 2,
	} {
		got := 0
		checkTag(reflect.StructTag(tag), fieldTags, func(string, ...any) { got++ })
		if got != want {
			t.Errorf("%s: %d mistakes, want %d", tag, got, want)
		}
	}
}
