// Package webv4 is an HTTP interface framework: a struct declares an interface
// by its tags, a function answers it, and authentication, quotas, degradation,
// access log, tracing and panic isolation are there already.
//
// # Nouns
//
// An [API] is a set of interfaces and an [http.Handler]; a group is an API below
// a path. An interface is a method and a path, declared by the tags of a request
// struct; its parameters are the struct's fields. [Handle] registers the function
// that answers it. A [Principal] is who calls, told by an [Authenticator]. A
// quota is how many calls somebody may make. A degrade point is a name under
// which interfaces are degraded to a [Level]. An [Interceptor] stands around
// handlers, a [Filter] before them. An [Error] is what clients see when a call
// fails.
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
//	          A slash that a request escapes (%2F) belongs to its segment.
//	          A path that ends in .json has twins that end in .xml and .msgpack, and in the
//	          suffixes of codecs, and answer in that.
//	auth      user: the Authenticator must know who calls. none, the default: nobody is asked.
//	scopes    what the principal's token must allow, separated by spaces
//	level     the level that the principal's application must have at least
//	quota     WHO=N/UNIT, several separated by commas, each WHO/UNIT once. WHO is user, app (its
//	          user if the application is unknown), app+user, ip (an IPv6 /64 network counts as
//	          one, and so do all calls without an address, over unix sockets) or total; UNIT is s,
//	          m, h or d. The API's and its groups' quotas count
//	          besides: in RateLimit headers they have their path in their name, as in
//	          "user/h /2/". none: not even those count. Calls that are refused for who makes
//	          them, with 401 for wrong credentials or with 403, use up the quotas of their ip,
//	          user and app+user, so that guessing has an end, but not what others share. While
//	          an ip has no call left, nobody is asked who makes one.
//	degrade   POINT=STEP,…: what the interface does when its point is degraded: trim, stale:AGE,
//	          static or fallback, shed, off; see Degradation
//	breaker   PERCENT%/WINDOW, min=CALLS, rest=DURATION, probes=CALLS: keeps calls away from a
//	          handler of whose calls within WINDOW, at least min (20), so many failed. After rest
//	          (5s), probes (3) calls in a row must succeed. See Degradation
//	idempotent  TTL or TTL,required: replies are kept that long under the caller's
//	          Idempotency-Key; see Idempotency
//	timeout   a duration such as 3s. The handler's context ends then.
//	class     critical, normal (the default) or low: whom overload and the step shed refuse first
//	cost      the cost class, whose calls share a limit under Options.Overload
//	with      names of interceptors and filters, separated by commas
//	select    the query parameter by which clients choose the reply's fields: id,user.name
//	trim      the query parameter, such as trim_user, by which clients have the reply without its
//	          fields tagged trim:"true"
//	cache     30s: how long a reply to GET may be kept (Cache-Control), by its caller alone if the
//	          interface has auth or a cookie for a parameter; headers that are parameters are in
//	          Vary. none: not at all. Errors, degraded replies and those that set a cookie do not
//	          say so
//	etag      true: replies to GET carry an entity tag, and If-None-Match is answered with 304
//
// Other tags are for interceptors ([Call].Tag) and for openapi: summary, doc,
// tags, id, deprecated.
//
// # Tags of a parameter
//
// One of them says where a parameter comes from; it comes from nowhere else.
// The fields of an embedded struct are parameters too.
//
//	path, query, header, cookie, form    with the parameter's name
//	file                                 a part of a multipart form, for a *[File]; maxSize:"5MiB" allows it that much,
//	                                     beyond Options.MaxBody too. Without it 1 MiB, within MaxBody.
//	body                                 the whole body, as JSON, XML, MessagePack or by a codec
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
// Rules that contradict each other, and tags that are one of these misspelt, are
// mistakes; tags of other packages are let be.
//
// Types are strings, booleans, numbers, [time.Duration], []byte, what has
// UnmarshalText, and lists of these: a list takes every value of its name, the
// rest the first. [Opt] of any of them tells an absent value from a zero one.
//
// In a body the same tags apply to the fields of the struct, at any depth, and
// names are those of json tags. Null is as good as absent, except for Opt,
// pointers, maps, lists and interfaces; as an item of a list, array or map it is
// refused except for these. The reader is stricter than
// encoding/json: names must match in case, a name given twice, invalid UTF-8
// and more than 100 levels are refused. A type with methods that read it reads
// itself, and a [Codec] what it is for: tags on fields in there are refused, as nobody
// would look at them.
//
// # Replies and errors
//
// A reply is what encoding/json would write. In XML names are the same: a list
// is an element with one item a child, called item or the last name of a tag
// such as xml:"statuses>status"; a map has <entry key="…"> children; null is
// no element. The root is <result>, or what the xml tag of a field XMLName says.
// In MessagePack objects are maps with string keys and bytes are bin. The suffix
// of the path decides the format; without .json the Accept header does. Bodies
// have the same forms, with the same rules: they become JSON first. Package
// webv4/protobuf is a [Codec] for protocol buffers.
//
// Options.CompressFrom compresses replies with zstd or gzip. Bodies may come in
// either (Content-Encoding); Options.MaxBody bounds what comes out.
//
// A handler sets the status with [SetStatus] and headers on [Header]. A reply of
// type [Redirect], [Content], [Stream] or [Events] writes itself.
//
// Errors are {"request":"/path","error_code":10017,"error":"text"}, the table is
// that of [API.ErrorTable], in which [ErrorCodes] changes rows for a version of
// the API; [ErrorStyle] has two other forms. A handler's
// *[Error] is answered as it is, any other error as 10001, without its text; the
// access log and the trace have it.
//
// # Groups, interceptors, middleware
//
// [API.Group] gives a group its own error style, authenticator, quotas, degrade
// point, interceptors and middleware, so that versions of an API can differ. An
// [Interceptor] sees the typed request and reply, a [Filter] decides before the
// parameters are read. Plain handlers mount with [API.Mount], and
// func(http.Handler) http.Handler wraps interfaces by Options.Middleware.
//
// # Authentication
//
// [NewAPIKeys], [Basic], [ClientCert], [NewHMAC] for signed requests, package
// jwtauth for JSON Web Tokens, [FirstOf] for several; or your own, often on
// [AccessToken]. A 401 has the challenges of all schemes that would do; see
// [Challenger]. A [DenyList] refuses addresses, users and applications.
//
// # Degradation
//
// [API.Degrade] sets a degrade point to a level, for a time, for a share of the
// clients, or as a dry run. An interface then acts on the strongest step of its
// tag that is not beyond the level: trim leaves out the reply's fields tagged
// trim:"true", stale answers with the last good reply to the same request and
// caller, static with [SetStatic], fallback with [Fallback], shed refuses what is
// not critical, off refuses all. The reply says so in X-Degraded, with the point's
// name, overload or breaker behind the step; handlers ask [LevelFrom]. The point
// [Everything] and GroupOptions.Degrade reach many at once. Package webv4/admin
// is the page on which people do that.
//
// Interfaces degrade by themselves, too:
//
//	by verdict   watchman has a switch webv4.POINT.STEP for each step that a point's interfaces
//	             have, and POINT for off. A control.Policy turns it when an objective is missed.
//	             While a policy has, five calls a second and point go through to the handler,
//	             and only they count for the objective: what is answered in the handler's place
//	             is a rejected call to watchman. A human's switch lets nothing through.
//	by breaker   the breaker tag. Its interface answers by the softest of stale, static or
//	             fallback that its degrade tag has and that can, else with 10002
//	by overload  Overload.Degrade: level by level while calls of a cost class are refused
//
// [Overload] refuses calls when there are more than the process can serve. Its
// limit follows throughput and base latency; TestOverloadGoodput simulates it. A call
// counts while it is worked on: not while its body is awaited, nor while its reply is
// sent. Replies that wait for their clients take memory, until the server's WriteTimeout.
// Watchman's dial webv4.limit, or webv4.limit.COST, lowers it. While calls are
// refused, replies say in X-Admission which class still gets in: normal, critical
// or none, so that callers can hold back the rest. Callers say in X-Deadline-Ms how
// long they will wait; [PassDeadline] says it to whom a handler calls.
//
// # Idempotency
//
// A client that sends a request of an interface with an idempotent tag again,
// with the same Idempotency-Key, gets the first reply again, with
// Idempotent-Replayed: true. While the first is under way it gets 409, for
// another request with that key 422. Replies that are errors are not kept: the
// request may be tried again. A key is its caller's: the application's and user's of
// the principal. One who has neither gets 400 for a key, as an address is not one
// caller. Replies are kept in the process, or for several in an
// [IdempotencyStore] such as webv4/redisidempotent's.
//
// # Lists and batches
//
// [Cursors] makes signed cursors, [IDPage] pages by since_id and max_id.
// [API.Batch] makes the calls of one request that has several.
//
// # Guarantees
//
//	order         route, deny list, degradation, overload, authentication, quotas, filters,
//	              parameters, interceptors, handler, reply, log: each refusal costs nothing of
//	              what comes after it; the body is read last
//	one source    a parameter comes from where its tag says and from nowhere else
//	all mistakes  registration panics, with all that is wrong with the tags at once
//	handlers      get a request that is complete and keeps every rule of its tags; they may keep
//	              it and its context: nothing is used again that a handler can see
//	panics        a handler's panic is answered with 10001 and logged; after the first byte of
//	              the reply the connection ends, so that nobody takes half of it for all
//	quotas        a call that one of its quotas refuses costs none anything; remembering callers
//	              takes a bounded 40 MB, beyond a million of them some start afresh
//	overload      at five times the load a process can serve it serves at least 87 % of what it
//	              can, and 99 % of what is critical (simulated: a pool, and shared cores)
//	bounds        Options.MaxBody and the maxSize of files, also of what a compressed body becomes, with 8 MiB of window for
//	              zstd; 128 parts a form, 100 levels of a body, 64 parameters, 16 proxies, 50 calls
//	              and 8 MiB of replies a batch, Options.KeepReplies and KeepIdempotent;
//	              Server bounds the header and the time for it
//	log           one line of JSON a request whatever the client sends, or a record of slog; what
//	              the writer is too slow for is dropped and counted
//	once          of requests with one Idempotency-Key at most one is under way at any time, and
//	              after one that succeeded none is done again, as long as the store remembers it;
//	              in a store that processes share, unless it is out of reach for 20 s while a
//	              handler is late, or the handler takes longer than the tag's TTL
//
// # Caveats
//
// A timeout ends the handler's context; it does not stop a handler that never
// looks at it. Strings in a request share the memory of its body: keep a copy
// (strings.Clone) of a short one if bodies are large. Without a [QuotaStore] quotas
// live in the process: two processes allow twice as much. Mounted handlers have
// neither quotas nor overload protection. A breaker counts what its process sees.
// Replies that are kept in memory by Idempotency-Key go with the process.
//
// # Cost
//
// CPU time on two cores of an Intel Xeon with nothing else running, in memory,
// medians of five runs; TestAllocations holds the allocations:
//
//	a GET with three parameters and a JSON reply   0.5 µs, 2 allocations
//	a POST of 120 bytes of JSON, checked           1.3 µs, 5 allocations
//	the whole chain, with watchman                 1.4 µs, 5 allocations; net/http's mux
//	                                               and encoding/json alone 0.3 µs
//	a reply of 22 KB of JSON                       12.4 µs; encoding/json 28.7 µs
//	10,000 levels of JSON, refused                 0.01 to 0.02 ms
//	8 MB of JSON, refused                          0.7 ms
//	a refusal, with log and watchman: no such path 0.8 µs, 2 allocations
//	                                  switched off 1.2 µs, 5 allocations
//	                                  out of quota 1.5 µs, 9 allocations
//	  go test -run '^$' -bench 'WebTypedGET|WebValidatedPOST|WebGovernance|WebTimeline|WebHostile|WebRefusal' ./webv4
//	the same beside other frameworks
//	  cd peers && go test -run '^$' -bench Web ./web
//
// # Reading order
//
// options.go; api.go with register.go and group.go; plan.go and field.go with
// constraint.go and misspelt.go (what tags say); serve.go (the chain) with call.go,
// clientip.go, variant.go, deadline.go, reply.go and negotiate.go; route.go with
// escapedpath.go; bind.go with setter.go, opt.go and multipart.go; model.go with
// mapkey.go, unread.go and prune.go, jsonread.go, jsoncontainer.go, jsonwrite.go and
// jsonstring.go; auth.go, challenge.go, schemes.go and deny.go; quota.go with
// quotastore.go and ratelimitstatus.go; degrade.go with switches.go, stale.go and
// breaker.go; overload.go with class.go, place.go and strain.go; idempotent.go with
// idempotentstore.go; errors.go with errorcodes.go, errortable.go and errorstyle.go;
// intercept.go. The rest stands alone.
package webv4
