// Package motan is RPC on the Motan2 wire: typed calls over a few multiplexed
// connections, with failover and load balance on the caller's side and protection
// on the server's.
//
// # Nouns
//
// A [Server] offers methods of services: [Handle] registers a typed function,
// [Server.Register] a struct with all its methods. A [Client] calls one service:
// [Call] waits for the answer, [Go] does not, [Send] wants none. A [Registry] tells
// a client the service's endpoints; [Static] is one that never changes. A
// [Serializer] turns values into bodies: [Simple] by default, [Hessian2] and
// [Breeze] for Java, [Protobuf], [GRPCPb], [JSON], [Msgpack]. An [Error] has a code
// and a type and crosses the wire. An [Interceptor] wraps the calls of either side.
//
// The example below is a whole program.
//
// # Guarantees
//
//	failover       another endpoint is tried only if the request was certainly not
//	               executed, or if the method is listed in ClientOptions.Idempotent;
//	               further tries are at most RetryBudget of all calls
//	deadline       ctx's deadline, or Options.Timeout, bounds the call with all its
//	               tries; it travels as M_tmo and ends the handler's context
//	cancellation   a call returns within some milliseconds; its handler goes on
//	               until its deadline: the protocol has no word for it
//	lost peer      calls in flight fail at once; the endpoint gets no calls until a
//	               connection is up again, which is tried after 20 ms, then ever more
//	               slowly up to once a second
//	silent peer    a connection whose calls get no answers is asked for a heartbeat
//	               and given up after three without one
//	failing peer   an endpoint of whose calls half fail, 20 of them at least, rests
//	               for 250 ms to 10 s; three probes must succeed to end that.
//	               Business errors do not count
//	overload       a server works on at most MaxInFlight calls and rejects the rest,
//	               with an error that lets clients go elsewhere and that is, or
//	               wraps, watchman.ErrRejected on both sides
//	shutdown       Shutdown leaves the registries, tells the clients, and answers
//	               what is in flight: clients of this package lose no call
//	bounds         frames up to MaxFrame, values nested up to 64 deep, gzip bodies
//	               inflating to MaxFrame; a peer may pause 10 s inside a frame, and
//	               take 10 s to read what it is sent; all that a server holds of
//	               requests and answers, MaxBuffered
//	panics         a handler's panic is answered as error 500 and logged
//	tracing        with Options.Watchman, W3C trace context travels in the metadata, and
//	               a server's word that the trace is worth keeping comes back
//
// # Where endpoints are
//
// [Static] and [File] list them; package zkregistry finds them in ZooKeeper, where
// [Server.Announce] puts them. An endpoint is host:port, unix:PATH, or the URL of a
// [Server.HTTPHandler]; [InProcess] is a server of this process. [Commanded] makes
// a registry obey the commands of operators: groups, shares, routes, degradation,
// switches. Package motantest holds the contracts of registries and of sources of
// commands as tests. [MC] calls memcached servers the same way.
//
// # Operating
//
// [AccessLog] and [FaultInjector] are interceptors; [Admin] shows clients, servers,
// commands and switches over HTTP, and takes endpoints out. With a Watchman each
// service and each method has a switch of its name, SERVICE and SERVICE/METHOD, that
// turns it off, the dial [InFlightDial] bounds the calls in flight, and [WeightDial]
// lowers the share of the calls that clients give the server: policies of package
// watchman/control can turn them. ServerOptions bounds calls in flight and
// rates, takes a [Limiter], and checks Tokens; TLS is the listener's
// (crypto/tls.NewListener) and ClientOptions.TLS. [Server.SetWeight] asks clients
// for less or more while the server runs.
//
// Spans of traces that are kept from the start have phases: queue, encode, write,
// wait and decode on the client, decode, handle and encode on the server, whose span
// begins when the request has been read. Those of calls that failed, or took 10 ms
// and proved worth keeping, have the fact motan.phases instead, which costs less.
//
// # Wire
//
// Frames, metadata, error codes and serializations but msgpack are those of
// weibocom/motan 1.2 and motan-go 1.2.0; a server answers in the serialization
// of the request. MetaService answers getDynamicMeta. Several arguments are an
// [Args], or a struct with [Positional]. Motan1 frames are refused with an error.
// Streaming is not here. Two things are
// this package's own, and others ignore them: trace context in the metadata, with
// heddle-keep in that of answers, and the frame by which a server says that it shuts
// down.
//
// # Performance
//
// Requests and answers of many calls share system calls; deadlines cost no timers.
// A call that is alone on its connection reads its answer itself.
// A handler that has shown to take no more than 20 µs runs on the goroutine that
// read its request; when it waits for something after all, another goroutine reads
// on within some milliseconds. Of the simple kinds a call allocates what crosses to
// the user and nothing else: the answer, and on the server the argument and the
// handler's context; with a Watchman also a span on each side and what watchman
// keeps of the tracestate. TestCallAllocations holds that, with metadata and
// interceptors too.
//
// Client and server in one process on two shared cores of an Intel Xeon, with
// deadline, metadata, watchman and an interceptor on each side, beside arpc, in
// earlier runs the best of six peers; the medians of nine runs of
//
//	cd peers && go test ./rpc -run '^$' -bench 'RPC/peer=(motan|arpc)$/size=1KB/callers=(1|100|1000)$' -benchtime 120000x
//
//	1 KB, 1 caller        7.4 µs p50         9.7 µs of CPU a call    arpc 8.5 µs, 18.6 µs
//	1 KB, 100 callers     280,000 calls/s    6.4 µs                  arpc 142,000 calls/s, 11.9 µs
//	1 KB, 1000 callers    8.7 ms p99         6.9 µs                  arpc 15.2 ms, 12.9 µs
//
// On two cores of an AMD EPYC, medians of five runs of a later version, and of three of
// size=64KB/callers=100 with -benchtime 10000x:
//
//	1 KB, 1 caller        14.5 µs p50        17.9 µs of CPU a call   arpc 15.1 µs, 23.2 µs
//	1 KB, 100 callers     361,000 calls/s    4.7 µs                  arpc 132,000 calls/s, 11.7 µs
//	1 KB, 1000 callers    7.7 ms p99         5.9 µs                  arpc 18.8 ms, 17.8 µs
//	64 KB, 100 callers    14,100 calls/s     122 µs                  Kitex 13,700 calls/s, 137 µs
//
// Machines of one kind differ by a factor of two: only ratios mean anything.
//
// # Reading order
//
// The wire: frame.go, framesource.go, metadata.go, errors.go, serializer.go with
// simple.go, simplecodec.go and simplecontainer.go, typeplan.go with breeze.go,
// breezeread.go and breezeany.go, then hessian.go, hessianvalue.go, hessianread.go and
// hessianany.go, protobuf.go, grpcpb.go, json.go with jsonjava.go and jsontimes.go,
// msgpack.go. The client: clientoptions.go, client.go, call.go, try.go, backup.go,
// encode.go, endpoint.go, clientconn.go, clientread.go, combine.go with direct_unix.go
// and direct_other.go, sweep.go; then balance.go, breaker.go, budget.go, latency.go. The
// server: serveroptions.go, server.go, handle.go, serverconn.go, connlog.go, callmeta.go,
// lastseen.go, memory.go, dispatch.go, pace.go, context.go. Between them: interceptor.go,
// accesslog.go, faults.go, trace.go, clock.go, weights.go, admin.go. Where services are:
// registry.go, file.go, announce.go, commands.go, commandpattern.go. Other ways: local.go,
// http.go, httpmeta.go, mc.go.
package motan
