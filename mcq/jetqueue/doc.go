// Package jetqueue is package mcq's queues on a cluster of NATS servers: what
// is acknowledged survives the loss of a machine.
//
// # Nouns
//
// A [Cluster] is the queues on the servers that a connection leads to; [Open]
// opens one. A [Queue] has the methods of an mcq.Queue: Put, Lease, Ack, Nack,
// Extend, Take. It is an mcq.Source, so mcq.Consume works on it, and a Cluster is
// an mcq.Backend, so an mcq.Server serves it to memcached clients:
//
//	nc, err := nats.Connect("nats://a:4222,nats://b:4222,nats://c:4222", nats.MaxReconnects(-1))
//	cluster, err := jetqueue.Open(ctx, nc, nil)
//	server, err := mcq.NewBackendServer(cluster, nil)
//	err = server.Serve(listener)
//
// Several processes may serve the same queues, each to its own clients.
//
// # Guarantees
//
//	durable        Put returns when more than half of the replicas have the message. They write
//	               it to their disks and, unless told otherwise, fsync every two minutes: a
//	               message survives the loss of a machine, but not of all of them within
//	               that time. A server with sync_interval: always fsyncs before it answers
//	once           Put sends again what is not answered, and the stream stores it once, within
//	               QueueOptions.DedupeWindow
//	order          messages come in the order in which the stream has stored them; what is given
//	               back, or whose lease ran out, comes before what was never handed out
//	delivery       Take: at most once. Lease: at least once. Attempts counts on the servers
//	leases         belong to the process that asked, which alone can acknowledge them; they end
//	               with it: at once if it closes its Cluster, else after Options.Failover
//	paused         Pause holds for all processes, and survives them and the servers
//	server lost    operations wait and are tried again until Options.Timeout
//	memory         per queue in use 1024 messages being put, and about 200 bytes for each one leased
//	space          acknowledged messages are removed every two seconds, up to the first one
//	               that some reader has not acknowledged
//
// # Streams
//
// A queue is a stream with one subject and a durable consumer called "queue"; a
// subscriber is another consumer. Streams keep messages until they are trimmed,
// and trimming is one purge for all. Streams made for work queues, or by
// interest, remove each message by itself, cannot change from one into the other
// when the first subscriber comes, and those by interest let a replica that has
// not heard of a consumer yet skip messages. Bodies are NATS messages as they
// are; flags, times and the trace are headers, so other NATS clients can put.
//
//	MCQ_q      stream of the queue q; bytes other than letters, digits, - and _ as =XX
//	mcq.q      its subject
//	q+s        name of the subscriber s of q
//
// NATS 2.11 or later is needed, for messages that expire.
//
// # Caveats
//
// The order is that of the Puts unless the stream changes its leader while
// messages are on their way: those that were lost are sent again, behind others.
//
// Delayed messages are sent back to the server by whoever gets them first, to be
// delivered when their time has come; if the stream's consumer changes its
// leader, they may come late by Options.Failover. Give the servers clocks that agree.
//
// Stock memcached clients must acknowledge at the server that handed out. The
// server answers NOT_STORED when a queue is full.
//
// # Cost
//
// A Put is one message to the stream's leader and one answer, combined with
// those of all goroutines. Readers share requests: one asks for all that have
// come while the one before was under way. An acknowledgement waits for the
// replicas; give Ack many ids at once, 64 of which are under way at a time. See
// BenchmarkQueue.
//
// # Reading order
//
// options.go, name.go, message.go; cluster.go, queue.go; put.go; lease.go,
// fetch.go, pull.go, pause.go; dead.go, trim.go, admin.go; errors.go, stats.go.
package jetqueue
