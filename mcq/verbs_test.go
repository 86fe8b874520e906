package mcq_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// kestrel's reliable reads.
var kestrelTable = []exchange{
	{"set k 5 0 1\r\n1\r\nset k 0 0 1\r\n2\r\nset k 0 0 1\r\n3\r\n", "STORED\r\nSTORED\r\nSTORED\r\n"},
	{"get k/peek\r\nget k/peek\r\n", "VALUE k/peek 5 1\r\n1\r\nEND\r\nVALUE k/peek 5 1\r\n1\r\nEND\r\n"},
	{"get k/open\r\nget k/open\r\nget k/peek\r\nget k/abort\r\n",
		"VALUE k/open 5 1\r\n1\r\nEND\r\nCLIENT_ERROR a message of that queue is open already\r\nVALUE k/peek 0 1\r\n2\r\nEND\r\nEND\r\n"},
	{"get k/t=10000/open\r\nget k/close/open\r\nget k/abort\r\nget k/peek\r\n",
		"VALUE k/t=10000/open 5 1\r\n1\r\nEND\r\nVALUE k/close/open 0 1\r\n2\r\nEND\r\nEND\r\nVALUE k/peek 0 1\r\n2\r\nEND\r\n"},
	{"get k/close\r\nget k/abort\r\nget nobody/open\r\nget nobody/close\r\nget nobody/peek\r\n", "END\r\nEND\r\nEND\r\nEND\r\nEND\r\n"},
	{"get k/open\r\nget k/close\r\nget k\r\nget k/open\r\n", "VALUE k/open 0 1\r\n2\r\nEND\r\nEND\r\nVALUE k 0 1\r\n3\r\nEND\r\nEND\r\n"},
	{"get k/open/abort\r\nget k/peek/close\r\nget k/open/n=2\r\nget k/open=1\r\n", strings.Repeat("CLIENT_ERROR bad command line format\r\n", 4)},
	{"set p 0 0 1\r\na\r\nset p 9 0 1\r\nb\r\nset p 0 0 1\r\nc\r\ngets p/peek/n=2\r\nget p/n=2/peek/lease=9\r\nflush p/count\r\nflush p/count\r\nflush nobody/count\r\n",
		"STORED\r\nSTORED\r\nSTORED\r\nVALUE p/peek/n=2 0 1 1\r\na\r\nVALUE p/peek/n=2 9 1 2\r\nb\r\nEND\r\nCLIENT_ERROR bad command line format\r\n3\r\n0\r\n0\r\n"},
	{"set k 0 0 1\r\nx\r\nflush k\r\nget k\r\nFLUSH nobody\r\nflush\r\n", "STORED\r\nEND\r\nEND\r\nEND\r\nCLIENT_ERROR bad command line format\r\n"},
	// Fan-out: a subscriber is made by the first read, and gets what is put from then on.
	{"set k 0 0 1\r\na\r\nget k+s\r\nset k 0 0 1\r\nb\r\nget k+s\r\nget k+s\r\n", "STORED\r\nEND\r\nSTORED\r\nVALUE k+s 0 1\r\nb\r\nEND\r\nEND\r\n"},
	{"get k/n=9\r\nset k+s 0 0 1\r\nx\r\n", "VALUE k/n=9 0 1\r\na\r\nVALUE k/n=9 0 1\r\nb\r\nEND\r\nCLIENT_ERROR mcq: bad queue name: k+s is a subscriber: put to k\r\n"},
	{"delete k+s\r\nget k+\r\nset k+ 0 0 1\r\nx\r\n", "DELETED\r\nEND\r\nCLIENT_ERROR bad command line format\r\n"},
}

// kestrel's streaming reads; each line is a connection, whose end gives back
// what it has open.
var monitorTable = []exchange{
	{"set m 1 0 1\r\na\r\nset m 0 0 1\r\nb\r\nset m 0 0 1\r\nc\r\n", "STORED\r\nSTORED\r\nSTORED\r\n"},
	{"monitor m 0 2\r\nconfirm m 3\r\nconfirm m 1\r\nget m/open\r\nget m/abort\r\nget m/peek\r\nconfirm m 1\r\n",
		"VALUE m 1 1\r\na\r\nVALUE m 0 1\r\nb\r\nEND\r\nERROR\r\nEND\r\nCLIENT_ERROR a message of that queue is open already\r\nEND\r\nVALUE m/peek 0 1\r\nb\r\nEND\r\nERROR\r\n"},
	{"MONITOR m 30 2\r\nCONFIRM m 2\r\nmonitor m 0\r\nmonitor m 1 0\r\nmonitor nobody 0 9\r\nconfirm nobody 1\r\n",
		"VALUE m 0 1\r\nb\r\nVALUE m 0 1\r\nc\r\nEND\r\nEND\r\nEND\r\nEND\r\nEND\r\nERROR\r\n"},
	{"monitor m\r\nmonitor m x\r\nmonitor m 31\r\nmonitor m 1 1025\r\nmonitor m/open 1\r\nmonitor m 1 1 1\r\nconfirm m\r\nconfirm m 0\r\nconfirm m/n=1 1\r\nconfirm m x\r\n",
		strings.Repeat("CLIENT_ERROR bad command line format\r\n", 10)},
}

// A monitor gets each message as it comes, and what it has not confirmed is
// somebody else's when it goes.
func TestMonitor(t *testing.T) {
	b := memBroker(t, nil)
	q := queue(t, b, "q")
	w := connect(t, serve(t, b))
	w.send("monitor q 30 3\r\n")
	for _, body := range []string{"1", "2", "3"} {
		put(t, q, body)
		w.expect("VALUE q 0 1\r\n" + body + "\r\n")
	}
	w.expect("END\r\n")
	w.send("confirm q 2\r\nmonitor q 30\r\n")
	w.expect("END\r\n")
	waitFor(t, "two to be gone", func() bool { return q.Stats().Backlog() == 1 })
	w.Close()
	waitFor(t, "the third to come back", func() bool { return q.Stats().Leased == 0 })
	expect(t, "again", bodies(lease(t, q, 9, mcq.LeaseOptions{})), "3")
}

// What a set can ask for.
var setTable = []exchange{
	{"set s/key=7 0 0 1\r\na\r\nset s/key=7 0 0 1\r\nb\r\nget s/n=9\r\n", "STORED\r\nSTORED\r\nVALUE s/n=9 0 1\r\na\r\nEND\r\n"},
	{"set s/delay=3600 0 0 1\r\nd\r\nget s\r\n", "STORED\r\nEND\r\n"},
	{"set s/delay=x 0 0 1\r\nx\r\nset s/key= 0 0 1\r\nx\r\n", "CLIENT_ERROR bad command line format\r\nCLIENT_ERROR bad command line format\r\n"},
	{"set s 0 100 1\r\na\r\nset s 0 4000000000 1\r\nb\r\nget s/n=9\r\n", "STORED\r\nSTORED\r\nVALUE s/n=9 0 1\r\na\r\nVALUE s/n=9 0 1\r\nb\r\nEND\r\n"},
	{"set s 0 9223372036854775807 1\r\na\r\nget s\r\n", "STORED\r\nVALUE s 0 1\r\na\r\nEND\r\n"},
	{"set full 0 0 1\r\na\r\nset full 0 0 1\r\nb\r\n", "STORED\r\nNOT_STORED\r\n"},
	{"gets s/lease=9\r\ndelete s/reject=1\r\n", "END\r\nNOT_FOUND\r\n"},
	{"set s 0 0 1\r\nr\r\ngets s/lease=9\r\ndelete s/reject=6/reason=%zz\r\ndelete s/reject=6/reason=not%20wanted\r\nget dead\r\n", "STORED\r\nVALUE s/lease=9 0 1 6\r\nr\r\nEND\r\nCLIENT_ERROR bad command line format\r\nDELETED\r\nVALUE dead 0 1\r\nr\r\nEND\r\n"},
}

// wqs's acknowledged reads.
var wqsTable = []exchange{
	{"eset g.q 3 0 2\r\nab\r\n", "1\r\n"},
	{"set g.q 0 0 1\r\nc\r\n", "STORED\r\n"},
	{"eset g.q 0 0 1 noreply\r\nd\r\n", ""},
	{"eget g.q\r\n", "VALUE g.q 3 4\r\n\x011ab\r\nEND\r\n"},
	{"eack g.q 0 0 1\r\n1\r\n", "STORED\r\n"},
	{"eack g.q 0 0 1\r\n1\r\n", "NOT_FOUND\r\n"},
	{"eget g.q\r\neget g.q\r\neget g.q\r\n", "VALUE g.q 0 3\r\n\x012c\r\nEND\r\nVALUE g.q 0 3\r\n\x013d\r\nEND\r\nEND\r\n"},
	{"ack g.q 2\r\nack g.q 2\r\nack g.q 3 noreply\r\nstats queue\r\n", "STORED\r\nNOT_FOUND\r\nSTAT g.q 3/3\r\nEND\r\n"},
	{"ack g.q\r\nack g.q x\r\nack g.q 0\r\nack nobody 1\r\neack g.q 0 0 1\r\nx\r\n",
		"CLIENT_ERROR bad command line format\r\nCLIENT_ERROR bad command line format\r\nCLIENT_ERROR bad command line format\r\nNOT_FOUND\r\nCLIENT_ERROR bad command line format\r\n"},
}

// The meta commands, as Dalli sends them.
var metaTable = []exchange{
	{"mn\r\n", "MN\r\n"},
	{"ms m 2 F7 T0 MS\r\nab\r\n", "HD\r\n"},
	{"ms m 1 c k Oabc q\r\nc\r\nmn\r\n", "MN\r\n"},
	{"ms m 1 c k Oabc\r\nd\r\n", "HD c3 km Oabc\r\n"},
	{"ms bQ== 1 b k\r\ne\r\n", "HD b kbQ==\r\n"},
	{"mg m v f c s t k O1 q\r\n", "VA 2 f7 c1 s2 t-1 km O1\r\nab\r\n"},
	{"mg m E30 c v\r\n", "VA 1 c2\r\nc\r\n"},
	{"md m C2 q\r\nmd m C2\r\nmd m C2 q\r\nmn\r\n", "NF\r\nNF\r\nMN\r\n"[4:]},
	{"mg m\r\nmg bQ== b v k\r\nmg m v\r\nmg m v q\r\nmn\r\n", "HD\r\nVA 1 b kbQ==\r\ne\r\nEN\r\nMN\r\n"},
	{"mg\r\nmg m v v\r\nmg m E0\r\nmg ! b\r\n", strings.Repeat("CLIENT_ERROR bad command line format\r\n", 4)},
	{"mg m X\r\nmd m X\r\n", "CLIENT_ERROR invalid flag\r\nCLIENT_ERROR invalid flag\r\n"},
	{"ms m 8 N60\r\ndelete m\r\nmn\r\n", "CLIENT_ERROR invalid flag\r\nMN\r\n"},
	{"ms m 1 MA\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"ms m\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"ms m -1\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"ms full 1\r\nx\r\nms full 1 O9\r\nx\r\n", "HD\r\nNS O9\r\n"},
	{"md m\r\nmd m\r\n", "HD\r\nNF\r\n"},
}

func TestGoldenVerbs(t *testing.T) {
	for name, table := range map[string][]exchange{"kestrel": kestrelTable, "monitor": monitorTable, "set": setTable, "wqs": wqsTable, "meta": metaTable} {
		t.Run(name, func(t *testing.T) {
			b := memBroker(t, &mcq.Options{Sync: mcq.Never, Queues: map[string]mcq.QueueOptions{"full": {MaxLength: 1}, "s": {DeadLetters: "dead"}}})
			_, addr := startServer(t, b, &mcq.ServerOptions{Logger: silent})
			for _, e := range table {
				t.Run(fmt.Sprintf("%.40q", e.request), func(t *testing.T) { e.run(t, addr, whole) })
			}
		})
	}
}

func TestServerProfiles(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never, Queues: map[string]mcq.QueueOptions{"full": {MaxLength: 1}}})
	_, addr := startServer(t, b, &mcq.ServerOptions{RefuseDrop: true, IgnoreExptime: true, FullIsError: true})
	for _, e := range []exchange{
		{"set q 0 -1 1\r\nx\r\nget q\r\n", "STORED\r\nVALUE q 0 1\r\nx\r\nEND\r\n"},
		{"delete q\r\nmd q\r\n", "SERVER_ERROR delete of a queue is not allowed here\r\nSERVER_ERROR delete of a queue is not allowed here\r\n"},
		{"set q 0 0 1\r\ny\r\nflush q\r\nget q\r\n", "STORED\r\nSERVER_ERROR flush of a queue is not allowed here\r\nVALUE q 0 1\r\ny\r\nEND\r\n"},
		{"set full 0 0 1\r\nx\r\nset full 0 0 1\r\nx\r\n", "STORED\r\nSERVER_ERROR mcq: queue full: full: limit 1 messages, 0 bytes\r\n"},
	} {
		e.run(t, addr, whole)
	}
}

// An expired message is put and done; it counts as expired.
func TestNegativeExptime(t *testing.T) {
	b := memBroker(t, nil)
	addr := serve(t, b)
	exchange{"set q 0 -1 1\r\nx\r\n", "STORED\r\n"}.run(t, addr, whole)
	exchange{"get q\r\n", "END\r\n"}.run(t, addr, whole)
	waitFor(t, "the message to be done", func() bool { s := queue(t, b, "q").Stats(); return s.Put == 1 && s.Done == 1 && s.Expired == 1 })
}

// An envelope makes no room for a larger body, or for a longer key.
func TestEnvelopeLimits(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never, MaxMessage: 1024})
	addr := serve(t, b)
	envelope := "\x04\x01\x00\x00\x00"
	key250 := "\x81\x02\x02\x00\x00\x00\x04\xfa\x01" + strings.Repeat("k", 250) // 257 bytes, extras: a key
	key251 := "\x82\x02\x02\x00\x00\x00\x04\xfb\x01" + strings.Repeat("k", 251)
	set := func(data string) string { return fmt.Sprintf("set q/h 0 0 %d\r\n%s\r\n", len(data), data) }
	for _, e := range []exchange{
		{set(envelope + strings.Repeat("x", 1024)), "STORED\r\n"},
		{set(envelope + strings.Repeat("x", 1025)), "SERVER_ERROR object too large for cache\r\n"},
		{set(key250), "STORED\r\n"},
		{set(key251), "CLIENT_ERROR bad envelope\r\n"},
		{"stats queue\r\n", "STAT q 2/0\r\nEND\r\n"},
	} {
		e.run(t, addr, whole)
	}
}

// A connection that ends without a close gives back what it has open.
func TestDisconnectAborts(t *testing.T) {
	b := memBroker(t, nil)
	q := queue(t, b, "q")
	put(t, q, "x", "y")
	w := connect(t, serve(t, b))
	w.send("get q/open\r\n")
	w.expect("VALUE q/open 0 1\r\nx\r\nEND\r\n")
	w.Close()
	waitFor(t, "the message to come back", func() bool { return q.Stats().Leased == 0 })
	expect(t, "again", bodies(lease(t, q, 1, mcq.LeaseOptions{})), "x")
}

// A message that stays open for too long is somebody else's.
func TestOpenTimeout(t *testing.T) {
	b := memBroker(t, nil)
	_, addr := startServer(t, b, &mcq.ServerOptions{OpenTimeout: time.Second})
	put(t, queue(t, b, "q"), "x")
	w := connect(t, addr)
	w.send("get q/open\r\n")
	w.expect("VALUE q/open 0 1\r\nx\r\nEND\r\n")
	other := connect(t, addr)
	other.send("get q/t=20000\r\n")
	other.expect("VALUE q/t=20000 0 1\r\nx\r\nEND\r\n")
	w.send("get q/close\r\n")
	w.expect("END\r\n")
}

func TestAuthentication(t *testing.T) {
	s, addr := startServer(t, memBroker(t, nil), &mcq.ServerOptions{Users: map[string]string{"ada": "pass word", "bob": "b"}})
	login := func(credentials string) string {
		return fmt.Sprintf("set auth 0 0 %d\r\n%s\r\n", len(credentials), credentials)
	}
	for _, e := range []exchange{
		{login("ada pass word"), "STORED\r\n"},
		{login("bob b") + "set q 0 0 1\r\nx\r\nget q\r\nget auth\r\n", "STORED\r\nSTORED\r\nVALUE q 0 1\r\nx\r\nEND\r\nEND\r\n"},
		{"set auth 0 0 5 noreply\r\nbob b\r\nget q\r\n", "END\r\n"},
		{"get q\r\nversion\r\n" + login("bob b"), "CLIENT_ERROR unauthenticated\r\nCLIENT_ERROR unauthenticated\r\nSTORED\r\n"},
		{login("ada b"), "CLIENT_ERROR authentication failure\r\n" + closed},
		{login("bob"), "CLIENT_ERROR authentication failure\r\n" + closed},
		{login("eve "), "CLIENT_ERROR authentication failure\r\n" + closed},
		{login(""), "CLIENT_ERROR authentication failure\r\n" + closed},
		{"ms q 1\r\n", "CLIENT_ERROR unauthenticated\r\n" + closed},
		{"add q 0 0 5\r\n", "CLIENT_ERROR unauthenticated\r\n" + closed},
		{"set auth 0 0 16385\r\n", "CLIENT_ERROR auth token too long\r\n" + closed},
		{"set auth 0 0 5\r\nbob bx\r\n", "CLIENT_ERROR bad data chunk\r\n" + closed},
		{"quit\r\n", "CLIENT_ERROR unauthenticated\r\n" + closed},
	} {
		e.run(t, addr, whole)
	}
	if n := s.Stats().AuthErrors; n != 4 {
		t.Errorf("%d wrong credentials counted", n)
	}
	_, err := mcq.NewServer(memBroker(t, nil), &mcq.ServerOptions{Users: map[string]string{"a b": "x", "c": ""}, OpenTimeout: -1, BodyMemory: -1})
	for _, part := range []string{`"a b"`, `"c"`, "OpenTimeout", "BodyMemory"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v says nothing about %s", err, part)
		}
	}
}

// The server takes any listener, so TLS is the caller's; the client has it, and
// credentials, as options.
func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := memBroker(t, nil)
	s, err := mcq.NewServer(b, &mcq.ServerOptions{Users: map[string]string{"ada": "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}})) }()
	for _, c := range []struct {
		user, password string
		roots          *x509.CertPool
		want           string
	}{
		{"ada", "secret", pool, ""},
		{"ada", "wrong", pool, "authentication failure"},
		{"ada", "secret", nil, "certificate"},
	} {
		client, err := mcq.Dial(ln.Addr().String(), &mcq.ClientOptions{TLS: &tls.Config{RootCAs: c.roots}, User: c.user, Password: c.password})
		if err != nil {
			t.Fatal(err)
		}
		err = client.Queue("q").Put(t.Context(), mcq.Message{Body: []byte("x")})
		_, takeErr := client.Queue("q").Take(t.Context())
		for _, err := range []error{err, takeErr} {
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), c.password)) {
				t.Errorf("%s %s: %v, want %q", c.user, c.password, err, c.want)
			}
		}
		client.Close()
	}
	idle, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, mcq.ErrClosed) {
		t.Error(err)
	}
}

// certificate makes one for 127.0.0.1.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
