// Package motan is RPC on the Motan2 wire: typed calls over a few multiplexed
// TCP connections, with failover and load balance on the caller's side.
//
// # Nouns
//
// A [Server] offers methods of services; [Handle] registers a typed function
// for one. A [Client] calls one service; [Call] makes a typed call. A
// [Registry] tells a client the service's endpoints; [Static] is one that never
// changes. A [Serializer] turns values into bodies: [Simple] by default,
// [Hessian2] and [Breeze] for Java, [Protobuf], [GRPCPb], [JSON], [Msgpack]. An
// [Error] has a code and a type and crosses the wire.
//
// # Guarantees
//
//	failover       another endpoint is tried only if the request was certainly not
//	               executed, or if the method is listed in ClientOptions.Idempotent
//	deadline       ctx's deadline, or Options.Timeout, bounds the call with all its
//	               retries; it travels as M_tmo and ends the handler's context
//	lost peer      calls in flight fail at once; the endpoint gets no calls until a
//	               connection is up again, which is tried after 20 ms, then ever more
//	               slowly up to once a second
//	overload       a server works on at most MaxInFlight calls and rejects the rest
//	bounds         frames up to MaxFrame, values nested up to 64 deep, gzip bodies
//	               inflating to MaxFrame; a peer may pause 10 s inside a frame
//	panics         a handler's panic is answered as error 500 and logged
//	tracing        with Options.Watchman, W3C trace context travels in the metadata
//
// # Wire
//
// Frames, metadata, error codes and serializations but msgpack are those of
// weibocom/motan 1.2 and motan-go 1.2.0; a server answers in the serialization
// of the request. Several arguments are an [Args], or a struct with [Positional].
// Motan1 frames are refused with an error. Streaming is not here.
//
// # Reading order
//
// frame.go, metadata.go, errors.go, serializer.go with simple.go and
// simplecodec.go, typeplan.go with breeze.go and hessian.go, protobuf.go, grpcpb.go,
// json.go, msgpack.go; client.go, registry.go, balance.go,
// endpoint.go, clientconn.go; server.go, dispatch.go.
package motan
