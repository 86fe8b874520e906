package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// Every field is read, and what a queue leaves out is as the default has it, wherever
// that stands.
func TestQueuesFile(t *testing.T) {
	fallback, queues, err := readQueues(file(t, `{
		"queues": {
			"mail": {"max_length": 0, "max_age": "24h", "dedupe_window": "1h"},
			"feed": {"fan_out": true, "max_attempts": 0, "dedupe_window": "0s"},
			"feed+app": {"max_bytes": 10000000000, "dead_letters": "", "drop_oldest": false}
		},
		"default": {"max_length": 7, "drop_oldest": false, "max_attempts": 5, "dead_letters": "dead"}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	common := mcq.QueueOptions{MaxLength: 7, MaxAttempts: 5, DeadLetters: "dead"}
	mail, feed, app := common, common, common
	mail.MaxLength, mail.MaxAge, mail.DedupeWindow = 0, 24*time.Hour, time.Hour
	feed.FanOut, feed.MaxAttempts, feed.DedupeWindow = true, 0, -1
	app.MaxBytes, app.DeadLetters = 10_000_000_000, ""
	if want := map[string]mcq.QueueOptions{"mail": mail, "feed": feed, "feed+app": app}; fallback != common || !reflect.DeepEqual(queues, want) {
		t.Errorf("%+v, %+v, want %+v, %+v", fallback, queues, common, want)
	}
	if fields := reflect.TypeFor[mcq.QueueOptions]().NumField(); len(queueFields) != fields {
		t.Errorf("%d of %d options can be given", len(queueFields), fields)
	}
	if _, queues, err := readQueues(file(t, "{}")); err != nil || len(queues) > 0 {
		t.Errorf("nothing: %v, %v", queues, err)
	}
}

// What is wrong with the file is said with its place.
func TestBadQueuesFile(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "line 1: unexpected EOF",
		"{\n\n":                                "line 3: unexpected EOF",
		"[]":                                   "line 1: the file: want an object",
		"{}\n{}":                               "line 2: there is more behind the end",
		"{\n\"default\":\n 7}":                 "line 3: default: want an object",
		"{\"default\": {},\n \"queue\": {}}":   `line 2: unknown field "queue"`,
		"{\"default\": {},\n \"default\": {}}": `line 2: the file: "default" is there twice`,
		"{\"queues\": {\n\"q\": {},\n\"q\": {}}}":                                                             `line 3: queues: "q" is there twice`,
		"{\"queues\": {\n\"a b\": {}}}":                                                                       "line 2: mcq: bad queue name",
		"{\"queues\": {\"q\": {\n\"max_size\": 1}}}":                                                          `line 2: queue q: unknown field "max_size"`,
		"{\"default\": {\"Max_Length\": 1}}":                                                                  `line 1: default: unknown field "Max_Length"`,
		"{\"queues\": {\"q\": {\n\"max_length\": -1}}}":                                                       "line 2: queue q: max_length: -1: want a whole number",
		"{\"queues\": {\"q\": {\"max_bytes\": 1.5}}}":                                                         "queue q: max_bytes: 1.5: want a whole number",
		"{\"queues\": {\"q\": {\"max_bytes\": \"1\"}}}":                                                       "queue q: max_bytes: \"1\": want a whole number",
		"{\"queues\": {\"q\": {\"max_attempts\": null}}}":                                                     "queue q: max_attempts: null: want a whole number",
		"{\"queues\": {\"q\": {\"max_attempts\": 1e30}}}":                                                     "queue q: max_attempts: 1e30: want a whole number",
		"{\"queues\": {\"q\": {\"max_age\": 24}}}":                                                            "queue q: max_age: 24: want a duration",
		"{\"queues\": {\"q\": {\"max_age\": \"1 day\"}}}":                                                     "queue q: max_age: \"1 day\": want a duration",
		"{\"queues\": {\"q\": {\"dedupe_window\": \"-1s\"}}}":                                                 "queue q: dedupe_window: \"-1s\": want a duration",
		"{\"queues\": {\"q\": {\"fan_out\": \"yes\"}}}":                                                       "queue q: fan_out: \"yes\": want true or false",
		"{\"queues\": {\"q\": {\"dead_letters\": \"a/b\"}}}":                                                  "queue q: dead_letters: mcq: bad queue name",
		"{\"queues\": {\"q\": {\"dead_letters\": \"a+b\"}}}":                                                  "queue q: dead_letters: \"a+b\": nothing can be put to a subscriber",
		"{\"queues\": {\"q\": {\"dead_letters\": false}}}":                                                    "queue q: dead_letters: false: want the name",
		"{\"queues\": {\"q\": {\"max_length\": 1,\n}}}":                                                       "line 2: ",
		"{\"default\": {\"max_length\": 1\n \"drop_oldest\": true}}":                                          "line 2: ",
		"{\"default\": {\"drop_oldest\": true}}":                                                              "default: drop_oldest: needs max_length or max_bytes",
		"{\"default\": {\"max_bytes\": 1, \"drop_oldest\": true},\n \"queues\": {\"q\": {\"max_bytes\": 0}}}": "queue q: drop_oldest: needs max_length or max_bytes",
	} {
		path := file(t, text)
		if _, _, err := readQueues(path); err == nil || !strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// The server does with its queues what the file says.
func TestQueuesServed(t *testing.T) {
	addr, _, stop := start(t, "-data", t.TempDir(), "-queues", file(t, `{
		"default": {"max_attempts": 1, "dead_letters": "dead"},
		"queues": {"full": {"max_bytes": 3}, "last": {"max_length": 1, "drop_oldest": true}, "feed": {"fan_out": true}}
	}`))
	for _, c := range []struct{ request, reply string }{
		{"set q 0 0 1\r\nx\r\ngets q/lease=9\r\ndelete q/nack=1\r\nget q dead\r\n",
			"STORED\r\nVALUE q/lease=9 0 1 1\r\nx\r\nEND\r\nDELETED\r\nVALUE dead 0 1\r\nx\r\nEND\r\n"},
		{"set full 0 0 3\r\nabc\r\nset full 0 0 1\r\nd\r\n", "STORED\r\nNOT_STORED\r\n"},
		{"set last 0 0 1\r\n1\r\nset last 0 0 1\r\n2\r\nget last\r\n", "STORED\r\nSTORED\r\nVALUE last 0 1\r\n2\r\nEND\r\n"},
		{"get feed+s\r\nset feed 0 0 1\r\nx\r\nget feed feed+s\r\n", "END\r\nSTORED\r\nVALUE feed+s 0 1\r\nx\r\nEND\r\n"},
	} {
		if got := talk(t, addr, c.request); got != c.reply {
			t.Errorf("%q: got %q, want %q", c.request, got, c.reply)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
