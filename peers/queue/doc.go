// Package queue holds package mcq against other people's queues, and against
// gomemcache, a memcached client that many Go programs have.
//
//	go test ./queue
//	go test -run '^$' -bench Queue -benchtime 2s ./queue
//	go test -run '^$' -bench 'Queue/peer=./sync=always/size=256B/clients=50$' ./queue
//
// The servers run in processes of their own, on loopback, so that cpu-µs/op is
// theirs alone: mcq's server and NATS JetStream in this test's binary started
// again, the others from the operating system's packages (on Debian:
// apt-get install beanstalkd memcached redis-server). memcacheq, whose protocol mcq
// speaks, is in no distribution; from https://github.com/stvchu/memcacheq, with
// libdb5.3-dev and libevent-dev:
//
//	./configure --enable-threads && make CFLAGS='-O2 -fcommon -fgnu89-inline'
//
// with -tags memcacheq it takes part, and HEDDLE_TEST_MEMCACHEQ names the program if it
// is not in PATH. Tests and benchmark leave out what is not installed and say so.
//
// What an operation is:
//
//	enqueue  one message stored: set, LPUSH, put, Publish
//	take     one message removed in one request, so delivered at most once: get, RPOP;
//	         all that memcacheq has
//	dequeue  one message leased or moved aside, then acknowledged, in two requests:
//	         gets q/lease and delete q/ack, LMOVE and LREM, reserve and delete, Fetch and a
//	         confirmed ack
//	mixed    half enqueue, half dequeue, in turns on each client
//
// memcached is no queue. Its set of a key, get, and get with delete say what the
// machine and the harness allow.
//
// A client is one connection. One goroutine has all of them and waits for their
// sockets together, the same for every peer whose protocol is text; JetStream's
// clients are its own library's, with a goroutine each. client-µs/op is what the
// clients cost. With pipeline=16 a client sends 16 requests and then reads 16
// replies. An operation's time is its batch's, from the first request to the
// last reply, the time that the reply waits for the goroutine included.
package queue
