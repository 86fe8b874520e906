package mcq_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/heddle-go/heddle/mcq"
)

// memcachedPeer is the address of a real memcached: start one with
//
//	memcached -l 127.0.0.1 -p 11311 & HEDDLE_TEST_MEMCACHED_MCQ=127.0.0.1:11311 go test ./mcq
//
// It must be one that nobody else uses: the tests empty it.
func memcachedPeer(t *testing.T) string {
	t.Helper()
	peer := os.Getenv("HEDDLE_TEST_MEMCACHED_MCQ")
	if peer == "" {
		t.Skip("HEDDLE_TEST_MEMCACHED_MCQ is not set: start memcached -l 127.0.0.1 -p 11311 and set it to 127.0.0.1:11311")
	}
	return peer
}

// What a queue and a cache must answer alike, sent to a real memcached and to a server.
func TestLikeMemcached(t *testing.T) {
	peer := memcachedPeer(t)
	_, ours := startServer(t, memBroker(t, nil), &mcq.ServerOptions{Logger: silent, AllowFlushAll: true})
	cas := regexp.MustCompile(`(?m)^(VALUE \S+ \d+ \d+) \d+\r$`)
	number := regexp.MustCompile(`VERSION \d+\.\d+\.\d+`)
	for _, request := range []string{
		"get mcqdiff\r\n", "get mcqdiff mcqdiff2\r\n", "gets mcqdiff\r\n", "get\r\n", "gets\r\n", "\r\n", "bogus\r\n", "get mcqdiff\n",
		"set mcqdiff 7 0 3\r\nabc\r\nget mcqdiff\r\ndelete mcqdiff\r\n",
		"set mcqdiff 4294967295 0 0\n\r\ngets mcqdiff\ndelete mcqdiff noreply\n",
		"set mcqdiff 0 0 3 noreply\r\na\r\n\r\nget mcqdiff\r\ndelete mcqdiff\r\n",
		"set mcqdiff 0 -1 1\r\nx\r\nget mcqdiff\r\n",
		"delete mcqdiff-none\r\n", "delete mcqdiff-none 0\r\n", "delete mcqdiff-none 10\r\n", "delete mcqdiff-none noreply\r\n",
		"touch mcqdiff-none 10\r\n", "touch mcqdiff-none 10 noreply\r\n",
		"version\r\n", "verbosity 1\r\n", "verbosity\r\n", "verbosity 0 noreply\r\n", "flush_all\r\n", "flush_all noreply\r\n",
		"stats reset\r\n",
	} {
		// Each on its own connection, with a command behind that shows the end.
		var replies [2]string
		for i, addr := range []string{peer, ours} {
			w := connect(t, addr)
			w.send(request + "stats detail-end-of-test\r\nverbosity 1\r\n")
			for line := w.line(); line != "OK\r\n" || request[0] == 'v' && len(replies[i]) < 4 || request[0] == 'f' && len(replies[i]) < 4; line = w.line() {
				replies[i] += line
				if len(replies[i]) > 4096 {
					t.Fatalf("%q: no end", request)
				}
			}
			replies[i] = cas.ReplaceAllString(number.ReplaceAllString(replies[i], "VERSION"), "$1 cas\r")
			w.Close()
		}
		if replies[0] != replies[1] {
			t.Errorf("%q: memcached says %q, we say %q", request, replies[0], replies[1])
		}
	}
}
