// Package webv4 is an HTTP interface framework: a struct declares an interface
// by its tags, a function answers it, and authentication, quotas, degradation,
// access log, tracing and panic isolation are there already.
//
// # Nouns
//
// An [API] is a set of interfaces and an [http.Handler]. An interface is a
// method and a path, declared by the tags of a request struct; its parameters
// are the struct's fields. [Handle] registers the function that answers it. A
// [Principal] is who calls, told by an [Authenticator]. A quota is how many
// calls somebody may make. A switch, watchman's, degrades an interface: it is
// off, or a [Fallback] answers. An [Error] is what clients see when a call fails.
//
// # A program
//
//	type show struct {
//		_  struct{} `route:"GET /2/statuses/show.json" auth:"user" quota:"user=1000/h"`
//		ID int64    `query:"id" required:"true" min:"1"`
//	}
//
//	func main() {
//		api, err := webv4.New(&webv4.Options{Authenticator: tokens})
//		if err != nil {
//			log.Fatal(err)
//		}
//		webv4.Handle(api, func(ctx context.Context, in *show) (*Status, error) {
//			return store.Status(ctx, in.ID)
//		})
//		srv := api.Server()
//		srv.Addr = "127.0.0.1:8080"
//		log.Fatal(srv.ListenAndServe())
//	}
//
// # Tags of the interface
//
// They are on a field `_ struct{}`.
//
//	route     METHOD PATH, required. A segment of the path is text, :name, :name.suffix (at
//	          the end), or *name (at the end, takes the rest). Names are the parameters'.
//	          A path that ends in .json has a twin that ends in .xml and answers in XML.
//	auth      user: the Authenticator must know who calls. none, the default: nobody is asked.
//	scopes    what the principal's token must allow, separated by spaces
//	quota     WHO=N/UNIT, several separated by commas. WHO is user, app, app+user, ip (an IPv6
//	          /64 network counts as one) or total; UNIT is s, m, h or d. none: not even the
//	          API's own quotas count.
//	degrade   SWITCH=off answers 503 while the switch is on; SWITCH=fallback calls the Fallback
//	timeout   a duration such as 3s. The handler's context ends then.
//
// # Tags of a parameter
//
// One of them says where a parameter comes from; it comes from nowhere else.
// The fields of an embedded struct are parameters too.
//
//	path, query, header, cookie, form    with the parameter's name
//	file                                 a part of a multipart form, for a *[File]; maxSize:"5MiB", 1 MiB by default
//	body                                 the whole body, as JSON
//
// The others say what it must be:
//
//	required     true: the parameter must be given. It may still be zero or empty.
//	default      the value if it is not given
//	min, max     of a number or a duration
//	minLength, maxLength  of a string, in characters
//	pattern      a regular expression (package regexp) that matches somewhere
//	format       email, uri, date, date-time, ip or uuid
//	enum         the values there are, separated by commas
//	minItems, maxItems, uniqueItems  of a list; the others are about its items
//
// Types are strings, booleans, numbers, [time.Duration], []byte, what has
// UnmarshalText, and lists of these: a list takes every value of its name, the
// rest the first. [Opt] of any of them tells an absent value from a zero one.
//
// In a body the same tags apply to the fields of the struct, at any depth, and
// names are those of json tags. Null is as good as absent, except for Opt,
// pointers, maps, lists and interfaces. The reader is stricter than
// encoding/json: names must match in case, a name given twice, invalid UTF-8
// and more than 100 levels are refused.
//
// # Replies and errors
//
// A reply is what encoding/json would write. In XML names are the same: a list
// is an element with one item a child, called item or the last name of a tag
// such as xml:"statuses>status"; a map has <entry key="…"> children; null is
// no element. The root is <result>, or what the xml tag of a field XMLName says.
//
// Errors are {"request":"/path","error_code":10017,"error":"text"}, the table is
// that of the Code constants. A handler's *[Error] is answered as it is, any
// other error as 10001, without its text; the access log and the trace have it.
//
// # Guarantees
//
//	order         route, switch, authentication, quotas, parameters, handler, reply, log: each
//	              refusal costs nothing of what comes after it; the body is read last
//	one source    a parameter comes from where its tag says and from nowhere else
//	all mistakes  registration panics, with all that is wrong with the tags at once
//	handlers      get a request that is complete and keeps every rule of its tags; they may keep
//	              it and its context: nothing is pooled that a handler can see
//	panics        a handler's panic is answered with 10001 and logged; after the first byte of
//	              the reply the connection ends, so that nobody takes half of it for all
//	quotas        a refused call costs none of its quotas anything; remembering callers takes a
//	              bounded 40 MB, beyond a million of them some start afresh
//	bounds        Options.MaxBody, 128 parts a form, 100 levels of JSON, 64 parameters, 16 proxies;
//	              Server bounds the header and the time for it
//	log           one line of JSON a request whatever the client sends; lines that the writer is
//	              too slow for are dropped and counted
//
// # Caveats
//
// A timeout ends the handler's context; it does not stop a handler that never
// looks at it. Strings in a request share the memory of its body: keep a copy
// (strings.Clone) of a short one if bodies are large. A quota lives in this
// process: two processes allow twice as much.
//
// # Cost
//
// CPU time on two shared cores, in memory:
//
//	a GET with three parameters and a JSON reply   0.6 µs, 3 allocations   go test -run '^$' -bench TypedGET ./webv4
//	a POST of 110 bytes of JSON, checked           1.5 µs, 5 allocations   go test -run '^$' -bench ValidatedPOST ./webv4
//	TestAllocations holds the allocations.
//
// # Reading order
//
// api.go, plan.go and field.go (what tags say), serve.go (the chain), route.go,
// bind.go, model.go with jsonread.go and jsonwrite.go, reply.go, quota.go.
package webv4
