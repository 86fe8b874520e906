package feed_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/examples/internal/feed"
	"github.com/heddle-go/heddle/examples/internal/ports"
)

// running is a feed in this process and a user who may post.
type running struct {
	t     *testing.T
	cfg   feed.Config
	feed  *feed.Feed
	uid   int64
	token string
}

func start(t *testing.T) *running {
	t.Helper()
	r := &running{t: t, uid: 1 + rand.Int64N(1<<40), cfg: feed.Config{Data: t.TempDir()}}
	addrs, err := ports.Free(6)
	if err != nil {
		t.Fatal(err)
	}
	r.cfg.Web, r.cfg.Services, r.cfg.Queue, r.cfg.Processor, r.cfg.Admin = addrs[0], addrs[1:3], addrs[3], addrs[4], addrs[5]
	t.Cleanup(func() { r.stop() })
	tokens, err := feed.LoadTokens(r.cfg.SecretFile())
	if err != nil {
		t.Fatal(err)
	}
	r.token = tokens.Issue(r.uid, time.Now().Add(time.Hour))
	return r
}

func (r *running) start() {
	r.t.Helper()
	f, err := feed.Start("all", r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.feed = f
}

func (r *running) stop() {
	if r.feed == nil {
		return
	}
	if err := r.feed.Stop(); err != nil {
		r.t.Error(err)
	}
	r.feed = nil
	http.DefaultClient.CloseIdleConnections()
}

// do sends a request and decodes the JSON answer into v unless that is nil.
func (r *running) do(req *http.Request, v any) (int, string) {
	r.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if v != nil && resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(b, v); err != nil {
			r.t.Fatalf("%s: %v in %s", req.URL, err, b)
		}
	}
	return resp.StatusCode, string(b)
}

func (r *running) get(path string, v any) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest("GET", "http://"+r.cfg.Web+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	return r.do(req, v)
}

func (r *running) post(key string, form url.Values, v any) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest("POST", "http://"+r.cfg.Web+"/2/statuses/update.json", strings.NewReader(form.Encode()))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return r.do(req, v)
}

type status struct {
	ID   int64  `json:"id"`
	Text string `json:"text"`
	User struct {
		ID int64 `json:"id"`
	} `json:"user"`
	ObjectID string `json:"object_id"`
	Picture  string `json:"original_pic"`
}

type timeline struct {
	Statuses   []status `json:"statuses"`
	NextCursor int64    `json:"next_cursor"`
}

// eventually waits for what the processor does after the answer.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func TestPostsReachTheTimelineAndSurviveARestart(t *testing.T) {
	t.Run("pebble", func(t *testing.T) { reachAndSurvive(t, start(t)) })
	t.Run("mysql", func(t *testing.T) {
		address := os.Getenv("HEDDLE_TEST_MYSQL")
		if address == "" {
			t.Skip("HEDDLE_TEST_MYSQL is not set: start MariaDB or MySQL, create an empty database, and set it to mysql://user:password@host:port/database")
		}
		r := start(t)
		r.cfg.DB = address
		reachAndSurvive(t, r)
	})
}

func reachAndSurvive(t *testing.T, r *running) {
	r.start()
	var ids []int64
	for i := range 5 {
		var s status
		text := fmt.Sprintf("post %d & <more> 新年", i)
		if code, body := r.post("", url.Values{"access_token": {r.token}, "status": {text}}, &s); code != http.StatusOK || s.Text != text || s.User.ID != r.uid {
			t.Fatalf("update: %d %s", code, body)
		}
		ids = append(ids, s.ID)
	}
	// A provider that is not connected yet, or slow, leaves a post to the other
	// one, whose ids of the same second are not in order with its own.
	slices.Sort(ids)
	check := func() {
		var all timeline
		eventually(t, "five statuses in the timeline", func() bool {
			code, body := r.get(fmt.Sprintf("/2/statuses/user_timeline.json?uid=%d", r.uid), &all)
			if code != http.StatusOK {
				t.Fatalf("timeline: %d %s", code, body)
			}
			return len(all.Statuses) == 5
		})
		for i, s := range all.Statuses { // newest first
			if want := ids[len(ids)-1-i]; s.ID != want {
				t.Errorf("place %d holds status %d, want %d", i, s.ID, want)
			}
		}
		var page timeline
		r.get(fmt.Sprintf("/2/statuses/user_timeline.json?uid=%d&count=2&max_id=%d", r.uid, ids[3]), &page)
		if len(page.Statuses) != 2 || page.Statuses[0].ID != ids[3] || page.NextCursor != ids[2]-1 {
			t.Errorf("page from %d: %+v", ids[3], page)
		}
		var one status
		if code, body := r.get(fmt.Sprintf("/2/statuses/show.json?id=%d", ids[0]), &one); code != http.StatusOK || one.ID != ids[0] {
			t.Errorf("show: %d %s", code, body)
		}
	}
	check()
	r.stop()
	r.start()
	check()
}

func TestARepeatedPostAppearsOnce(t *testing.T) {
	r := start(t)
	r.start()
	var first, second status
	form := url.Values{"access_token": {r.token}, "status": {"once"}}
	r.post("key", form, &first)
	r.post("key", form, &second)
	var tl timeline
	eventually(t, "the second id leads to the first status", func() bool {
		var s status
		r.get(fmt.Sprintf("/2/statuses/show.json?id=%d", second.ID), &s)
		return s.ID == first.ID
	})
	if r.get(fmt.Sprintf("/2/statuses/user_timeline.json?uid=%d", r.uid), &tl); len(tl.Statuses) != 1 {
		t.Errorf("the timeline shows %d statuses, want 1", len(tl.Statuses))
	}
}

func TestErrorsAreOfThePlatformsForm(t *testing.T) {
	r := start(t)
	r.start()
	for _, c := range []struct {
		path   string
		token  string
		status int
		code   int
	}{
		{"/2/statuses/show.json?id=1", r.token, http.StatusNotFound, 20101},
		{"/2/statuses/show.json", r.token, http.StatusBadRequest, 10016},
		{"/2/statuses/show.json?id=x", r.token, http.StatusBadRequest, 10017},
		{"/2/statuses/user_timeline.json?uid=1&count=1000", r.token, http.StatusBadRequest, 10017},
		{"/2/statuses/show.json?id=1", "", http.StatusUnauthorized, 21301},
		{"/2/statuses/show.json?id=1", r.token + "0", http.StatusUnauthorized, 21332},
		{"/2/nothing.json", r.token, http.StatusNotFound, 10020},
	} {
		req, err := http.NewRequest("GET", "http://"+r.cfg.Web+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		code, body := r.do(req, nil)
		var e struct {
			Request string          `json:"request"`
			Code    json.RawMessage `json:"error_code"`
			Error   string          `json:"error"`
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Errorf("%s: %v in %s", c.path, err, body)
			continue
		}
		path, _, _ := strings.Cut(c.path, "?")
		if code != c.status || strings.Trim(string(e.Code), `"`) != fmt.Sprint(c.code) || e.Request != path || e.Error == "" {
			t.Errorf("%s: %d %s, want %d and error_code %d", c.path, code, body, c.status, c.code)
		}
	}
}

func TestRateLimitStatusCountsPosts(t *testing.T) {
	r := start(t)
	r.start()
	remaining := func() int {
		var s struct {
			APIs []struct {
				API       string `json:"api"`
				Remaining int    `json:"remaining_hits"`
			} `json:"api_rate_limits"`
		}
		code, body := r.get("/2/account/rate_limit_status.json", &s)
		for _, a := range s.APIs {
			if a.API == "/2/statuses/update.json" {
				return a.Remaining
			}
		}
		t.Fatalf("rate_limit_status: %d %s", code, body)
		return 0
	}
	before := remaining()
	r.post("", url.Values{"access_token": {r.token}, "status": {"one"}}, nil)
	if after := remaining(); before-after != 1 {
		t.Errorf("remaining_hits went from %d to %d by one post", before, after)
	}
}

func TestASwitchTurnsAnInterfaceOff(t *testing.T) {
	r := start(t)
	r.start()
	set := func(on, header string) int {
		req, err := http.NewRequest("POST", "http://"+r.cfg.Admin+"/switches?name=feed.show&reason=drill&on="+on, nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			req.Header.Set("X-Heddle-Admin", header)
		}
		code, _ := r.do(req, nil)
		return code
	}
	if code := set("true", ""); code != http.StatusForbidden {
		t.Errorf("without the header: %d", code)
	}
	if code := set("true", "1"); code != http.StatusOK {
		t.Fatalf("switch on: %d", code)
	}
	if code, body := r.get("/2/statuses/show.json?id=1", nil); code != http.StatusServiceUnavailable || !strings.Contains(body, "10002") {
		t.Errorf("switched off: %d %s", code, body)
	}
	if code := set("false", "1"); code != http.StatusOK {
		t.Fatalf("switch off: %d", code)
	}
	if code, body := r.get("/2/statuses/show.json?id=1", nil); code != http.StatusNotFound {
		t.Errorf("switched on again: %d %s", code, body)
	}
}

func TestMainRefusesWrongFlags(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		args   []string
		says   string
		status int
	}{
		{[]string{"-role", "nothing", "-data", t.TempDir()}, `-role "nothing"`, 2},
		{[]string{"-web", "nowhere", "-data", t.TempDir()}, `-web: "nowhere" is not host:port`, 2},
		{[]string{"-admin", "192.0.2.1:1", "-role", "web", "-data", t.TempDir()}, "not a loopback address", 1},
		{[]string{"-node", "7", "-data", t.TempDir()}, "-node 7", 2},
		{[]string{"-role", "nothing"}, "-role", 2},
		{[]string{"-role", "queue", "-queue", taken.Addr().String()}, "listen on", 1},
		{[]string{"surprise"}, `unexpected argument "surprise"`, 2},
		{[]string{"-nonsense"}, "-nonsense", 2},
	} {
		var stdout, stderr bytes.Buffer
		if status := feed.Main(c.args, &stdout, &stderr); status != c.status || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%v: status %d, says %q, want %d, %q", c.args, status, stderr.String(), c.status, c.says)
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
