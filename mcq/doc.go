// Package mcq is durable first-in-first-out queues, embedded in a program or
// served over the memcached text protocol.
//
// # Nouns
//
// A [Broker] is a directory of queues; [Open] opens one. A [Queue] takes
// [Message]s with Put and hands them out, either for good (Take) or on a lease
// that ends with Ack, with Nack or by itself (Lease). A [Server] serves a
// Broker to any memcached client; a [Client] with its [RemoteQueue]s is the
// client that keeps many goroutines' commands on one connection. [Consume] is
// the loop around Lease and Ack: it feeds a function with batches.
//
// # Guarantees
//
//	durable        Put, Ack and Take return when the disk has it (Options.Sync); one
//	               fsync serves everybody who waits
//	visible        a message is handed out only once it is durable
//	order          messages come in the order of Put; what is given back, or whose lease
//	               ran out, comes before what was never handed out
//	delivery       Take: at most once. Lease: at least once
//	attempts       Message.Attempts counts across restarts. A process that ends without Close
//	               forgets the first attempt of what was put since Open, unless there was a
//	               second; all others are recorded before the message is handed out. So one
//	               that ends the process each time is handed out QueueOptions.MaxAttempts
//	               times and one more. Those that were handed out come again one at a time
//	limits         Put fails with ErrFull, or the oldest go, before QueueOptions' limits are broken
//	duplicates     a Message.Key is stored once in QueueOptions.DedupeWindow, across restarts
//	crash          every acknowledged Put is there, every acknowledged Ack stays, leases end;
//	               with Options.Sync Interval or Never the last ones are missing after a
//	               crash of the machine, but not of the process (see [Sync])
//	memory         of messages waiting Options.Memory bytes per queue, and for all queues
//	               Options.TotalMemory, what is read ahead included; besides about 100 bytes for
//	               each message that is leased or delayed and for each key that is remembered
//	disk           consumed messages are removed in runs of 4096, or of 4 MiB, and at once
//	               while the disk is full. 26 MiB are reserved, less on disks below 512 MiB
//	disk full      with less than Options.MinFree left, or the disk full to its end, Put fails
//	               with ErrNoSpace, and works again when there is more, which consuming alone
//	               sees to; reading and acknowledging go on in the space that is reserved, and
//	               so does Open. Should others have taken that as well, what is being written
//	               waits for space, and what comes after it fails with ErrNoSpace meanwhile;
//	               nothing has to be opened again
//	disk failure   a failed write or fsync of the journal makes everything return ErrFailed until
//	               the store is opened again; if the list of tables cannot be written, which
//	               happens in the background, the process ends
//	damage         Open or the reader says which file; only of the last group of the journal of a
//	               store that was not closed, or where the journal ends too soon, does it look
//	               like an unfinished write; with Interval and Never of what was not synced
//
// # What a queue can do
//
// [QueueOptions], given to Open, limit a queue's length, bytes and age, and how
// often a message is handed out before it goes to the dead letters. A [Message]
// may wait for its time (Delay), be worth nothing after some (TTL), and have a
// Key that keeps it from being stored twice. The queue q+s is the subscriber s of
// queue q: it gets all messages too and reads them at its own pace; they are
// stored once. [Queue.Peek], [Queue.Purge], [Queue.Pause] and [Queue.Reject] are
// for operators; [QueueStats] has the backlog and its age.
//
// # Protocol
//
// The server knows set, get, gets, delete, touch, stats, version, verbosity,
// flush_all (if allowed) and quit of the memcached text protocol, and answers
// like memcacheq where that works. get removes one message of each key. Behind
// a queue's name a key may have options, separated by slashes:
//
//	gets q/lease=30             hand out instead of remove; the cas value is the id
//	gets q/lease=30/receipt     the cas value is the Receipt; it goes wherever an id does
//	gets q/lease=30/n=256/t=500 up to 256 messages, waiting up to 500 ms for the first
//	delete q/ack=7,9-12         acknowledge; nack gives back, reject buries
//	delete q/reject=7/reason=T  and says why, percent-encoded; so may nack
//	touch q/id=8 60             make a lease last 60 s from now
//	set q/delay=60, q/key=K     hand out in 60 s; store once
//	set q/h, gets q/h           the body has an envelope with trace, times, key and, of a
//	                            dead letter, its origin in front
//	get q+s                     read as the subscriber s
//	get q/peek/n=100            show the next messages
//	flush q/count               empty the queue, and say how many there were
//	get q/open, q/close, q/abort, q/close/open, q/peek, flush q     as kestrel does
//	monitor q 30 100, confirm q 7                                   the same, up to 30 s
//
// stats queue lists put/done of each queue as memcacheq does, stats queue NAME all
// figures of one and stats queues of all. stats reset begins the server's counters
// anew; those of the queues lie in the store and go on.
//
// The exptime of a set is how long the message is worth handing out. Of wqs
// there are eset, eget, ack and eack; eset q/h answers the id and when, in Unix
// milliseconds; of the meta commands mn, ms, mg and md with
// the flags that a queue has a sense for.
//
// An option that a command has no sense for is refused. Other storage commands, and
// verbs that look like one, have their body swallowed and are refused. A malformed
// length closes the connection, because nobody knows where the body ends; so do
// the binary protocol, once its client has been told that its command is unknown,
// HTTP (a page in a browser could have commands in it) and a wrong password. Without ServerOptions.Users everybody
// who can connect may do everything, and passwords and messages are readable on
// the way unless the listener is one of crypto/tls.
//
// Things to know about clients: pymemcache sends noreply unless told otherwise,
// and then a set is not known to be stored; spymemcached with shouldOptimize
// hands one message to several callers; those that spread keys over servers by
// hash send q/lease=30 and q/ack=7 to different ones, so give them one server.
//
// # Cost
//
// Appending costs one copy into the store's log, the journal, and one into memory. What is
// consumed soon after it was put is never read from disk, and mostly never
// written to a table. Acknowledgements are one small record per group; it holds
// the gaps between acknowledged messages, so acknowledging every other message
// of a large lease makes it grow by about 4 bytes a gap.
//
// On Linux one goroutine, an event loop, serves all plain TCP connections: it
// reads what has come, has it committed in one group, and each connection gets
// its replies with one write. It commits by itself while the disk takes less than a
// millisecond for a group and there is nothing more to read, or no third processor
// to read it on; otherwise it reads on while the committer works. What has to
// wait, or is rare, and TLS connections have goroutines of their own.
//
// The journal is mcq's own, because whoever commits can write and sync it by itself.
// Pebble's has a goroutine for that; to wake it and be woken took 25 % more of the time
// of a durable enqueue by 50 clients.
//
// A store whose messages are consumed keeps 64 MiB of journal to write again; what
// is consumed takes space until the broker is less busy, or 256 MiB have
// gathered. Measured with messages that cannot be compressed
// (HEDDLE_TEST_LONG=1 go test -run 'TestSpaceComesBack|TestBytesWritten' -v ./mcq):
//
//	a second after ten million messages of 256 bytes were consumed   98 MiB
//	written for each byte put, 1 KiB, backlog 200,000                2.02
//
// Beside other servers on two cores of an AMD EPYC that clients and servers share, 256
// bytes, 50 clients, medians of three runs in which mcq and Redis took turns (one of
// beanstalkd and of JetStream, two of memcached), thousands of operations a second and
// the server's CPU for each (cd peers && go test -run '^$' -bench
// 'Queue/peer=(mcq|redis|beanstalkd|jetstream)/sync=always/size=256B/clients=50$/op=(enqueue|dequeue)/pipeline=1$'
// -benchtime 0.5s ./queue, and the like):
//
//	                                     mcq           Redis           beanstalkd -f0   JetStream
//	enqueue, on disk                      78  11 µs     62   12 µs     7.4  65 µs       4.5  119 µs
//	dequeue, on disk                      49  18 µs     28   27 µs     6.9  75 µs       3.9  221 µs
//
//	                                     mcq           Redis everysec  memcached
//	enqueue, not synced                  109   8.6 µs                   97  9.4 µs
//	take, not synced                     131   7.4 µs                   91  10.2 µs
//	enqueue, interval, pipelines of 16   659   1.6 µs  583   1.6 µs
//	take, interval, pipelines of 16      878   1.1 µs  691   1.4 µs
//	dequeue, interval, pipelines of 16   475   2.0 µs  251   3.7 µs
//
// memcacheq, whose clients mcq takes over, did there in one run of 0.5 s, other
// things running, with 50 clients: enqueue on disk 5,500/s and 48 µs where mcq did
// 25,500/s and 13 µs, take 7,700/s and 52 µs where mcq did 30,000/s and 11 µs; not
// synced 41,800/s and 10 µs beside 72,300/s and 8 µs, and 49,800/s and 10 µs beside
// 85,500/s and 6 µs (-tags memcacheq -bench
// 'Queue/peer=(mcq|memcacheq)/sync=(always|never)/size=256B/clients=50').
//
// What can be reached on disk is little more: memcached, which has no disk, stores 97,000
// a second there, and a dequeue is two requests. Of mcq's CPU for a durable enqueue
// three fifths are the write of the reply to the socket, a tenth is the fsync, which 41
// of 50 clients share, and a twentieth all else that is stored. Where a sync takes
// milliseconds, how many share it decides, and not the CPU. A group of 6 KiB is written
// and synced over blocks that are there, as mcq's journal is, in 0.13 ms and 60 µs of
// CPU, and at the end of a growing file in 0.24 ms and 113 µs (go test -run '^$' -bench
// Disk -benchtime 1500x ./mcq).
//
// Redis's dequeue is a move to a list of what is under way and a removal from it;
// memcached has no queues and forgets. Killed 200 times by a test with 50 writers
// and 50 readers, a server lost none of 756,202 messages
// (HEDDLE_TEST_LONG=1 go test -run 'TestKill$' ./mcq).
//
// Embedded and not synced, 50 goroutines put 910,000 and take 1,400,000 messages of 256
// bytes a second one by one (-bench 'Benchmark(Put|Take)/sync=never' -benchtime
// 1000000x). A put and a take take 1.6 µs, and 2.3 of CPU, while what waits fits into
// memory, and 1.9 µs, and 2.9 and 3.0 of CPU, behind 100,000 and 1,000,000 messages, as
// each is written to a table and read again (go test -run '^$' -bench Backlog -benchtime
// 1000000x ./mcq, means of two runs); behind 10,000,000 it was 1.7 µs in one run and 2.9
// in another (HEDDLE_TEST_LONG=1).
//
// # Reading order
//
// message.go, options.go, policy.go, errors.go; queue.go, tally.go, window.go, memory.go,
// heap.go, lease.go, slab.go, attempts.go, receipt.go, settle.go, delay.go,
// deadletter.go, admin.go, check.go; broker.go, store.go, load.go, directory.go,
// lock_unix.go, lock_other.go, inbox.go, commit.go, log.go, cuts.go, journal.go,
// group.go, recover.go, replay.go, room.go, reclaim.go, fullfs.go, reserve.go, tidy.go,
// damage.go, manifest.go, manifestmark.go, intervals.go; backend.go, keyoptions.go,
// server.go, serverstats.go, lane.go, loop_linux.go, loop_other.go, loopcommit_linux.go,
// quick.go, session.go, binary.go, auth.go, storage.go, bodies.go, pipeline.go,
// commands.go, transaction.go, meta.go; client.go, clientconn.go, remote.go,
// remotestats.go, remotebackend.go; consume.go, consumebatch.go.
package mcq
