package feed

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/webv4"
)

// maxMedia is the largest upload, the platform's limit for pictures.
const maxMedia = 5 << 20

// The interfaces, in the style of the platform's open API 2.
type (
	updateParams struct {
		_      struct{}    `route:"POST /2/statuses/update.json" auth:"user" quota:"user=1000/h" degrade:"feed.update=off" timeout:"10s"`
		Status string      `form:"status" required:"true" minLength:"1" maxLength:"2000"`
		Key    string      `header:"Idempotency-Key" maxLength:"128"`
		Media  *webv4.File `file:"media" maxSize:"5MiB"`
	}
	showParams struct {
		_  struct{} `route:"GET /2/statuses/show.json" auth:"user" degrade:"feed.show=off" timeout:"3s"`
		ID int64    `query:"id" required:"true" min:"1"`
	}
	timelineParams struct {
		_     struct{} `route:"GET /2/statuses/user_timeline.json" auth:"user" degrade:"feed.timeline=off" timeout:"3s"`
		UID   int64    `query:"uid" required:"true" min:"1"`
		Count int      `query:"count" default:"20" min:"1" max:"200"`
		MaxID int64    `query:"max_id" default:"0" min:"0"`
	}
	rateLimitParams struct {
		_ struct{} `route:"GET /2/account/rate_limit_status.json" auth:"user"`
	}
)

// statusReply is a status as the API shows it.
type statusReply struct {
	CreatedAt string    `json:"created_at"`
	ID        int64     `json:"id"`
	IDStr     string    `json:"idstr"`
	Text      string    `json:"text"`
	User      userReply `json:"user"`
	ObjectID  string    `json:"object_id,omitempty"`
	MediaURL  string    `json:"original_pic,omitempty"`
}

type userReply struct {
	ID    int64  `json:"id"`
	IDStr string `json:"idstr"`
}

type timelinePage struct {
	Statuses   []statusReply `json:"statuses"`
	NextCursor int64         `json:"next_cursor"` // max_id of the next page; 0 at the end
}

// web is the HTTP tier.
type web struct {
	feed   *motan.Client
	media  []*motan.Client // by node
	tokens *Tokens
	origin string
}

func startWeb(cfg Config) (*tier, error) {
	t, err := newTier(RoleWeb)
	if err != nil {
		return nil, err
	}
	h, err := newWeb(t, cfg)
	if err != nil {
		return nil, t.abort(err)
	}
	ln, err := listen(cfg.Web)
	if err != nil {
		return nil, t.abort(err)
	}
	srv := h.Server()
	t.serve("http server", func() error { return srv.Serve(ln) }, srv.Shutdown)
	return t, nil
}

func newWeb(t *tier, cfg Config) (*webv4.API, error) {
	w := &web{origin: "http://" + cfg.Web}
	var err error
	if w.tokens, err = LoadTokens(cfg.SecretFile()); err != nil {
		return nil, err
	}
	dial := func(service string, balance motan.Balance, addrs ...string) (*motan.Client, error) {
		c, err := motan.NewClient(service, motan.Static(addrs...), &motan.ClientOptions{
			Application: t.name, Watchman: t.watch, Balance: balance, Retries: 3, Timeout: 10 * time.Second,
			// Every update carries an idempotency key, so repeating one is harmless.
			Idempotent: []string{"update", "show", "timeline", "fetch"},
		})
		if err == nil {
			t.onStop("client of "+service, func(context.Context) error { return c.Close() })
		}
		return c, err
	}
	if w.feed, err = dial(feedService, motan.ConsistentHash, cfg.Services...); err != nil {
		return nil, err
	}
	for _, addr := range cfg.Services {
		c, err := dial(mediaService, motan.RoundRobin, addr)
		if err != nil {
			return nil, err
		}
		w.media = append(w.media, c)
	}

	if err := os.MkdirAll(filepath.Join(cfg.Data, RoleWeb), 0o755); err != nil {
		return nil, err
	}
	access, err := os.OpenFile(filepath.Join(cfg.Data, RoleWeb, "access.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	t.onStop("access log file", func(context.Context) error { return access.Close() })
	api, err := webv4.New(&webv4.Options{Watchman: t.watch, Authenticator: w, AccessLog: access})
	if err != nil {
		return nil, err
	}
	t.onStop("interface framework", api.Shutdown)
	webv4.Handle(api, w.update)
	webv4.Handle(api, w.show)
	webv4.Handle(api, w.timeline)
	webv4.Handle(api, func(ctx context.Context, _ *rateLimitParams) (*webv4.RateLimitStatus, error) {
		return api.RateLimitStatus(ctx)
	})
	api.Mount("GET /media/:id", http.HandlerFunc(w.download))
	return api, nil
}

// Authenticate accepts the tokens of this feed.
func (w *web) Authenticate(r *http.Request) (webv4.Principal, error) {
	token, err := webv4.AccessToken(r)
	if err != nil {
		return webv4.Principal{}, err
	}
	uid, err := w.tokens.Check(token, time.Now())
	switch {
	case errors.Is(err, errTokenExpired):
		return webv4.Principal{}, webv4.ErrTokenExpired
	case err != nil:
		return webv4.Principal{}, webv4.ErrTokenInvalid
	}
	return webv4.Principal{ID: strconv.FormatInt(uid, 10)}, nil
}

func (w *web) update(ctx context.Context, p *updateParams) (*statusReply, error) {
	uid := userID(ctx)
	req := &updateRequest{UID: uid, Text: p.Status, Key: p.Key}
	if req.Key == "" {
		req.Key = rand.Text()
	}
	if p.Media != nil {
		data, err := io.ReadAll(p.Media)
		if err != nil {
			return nil, err
		}
		req.Media = &Upload{Name: p.Media.Name, Type: p.Media.ContentType, Data: data}
	}
	st, err := motan.Call[Status](byUser(ctx, uid), w.feed, "update", req)
	if err != nil {
		return nil, apiError(err)
	}
	r := w.reply(st)
	return &r, nil
}

func (w *web) show(ctx context.Context, p *showParams) (*statusReply, error) {
	st, err := motan.Call[Status](ctx, w.feed, "show", &showRequest{ID: p.ID})
	if err != nil {
		return nil, apiError(err)
	}
	r := w.reply(st)
	return &r, nil
}

func (w *web) timeline(ctx context.Context, p *timelineParams) (*timelinePage, error) {
	tl, err := motan.Call[timelineReply](byUser(ctx, p.UID), w.feed, "timeline", &timelineRequest{UID: p.UID, MaxID: p.MaxID, Count: p.Count})
	if err != nil {
		return nil, apiError(err)
	}
	page := &timelinePage{Statuses: make([]statusReply, len(tl.Statuses))}
	for i := range tl.Statuses {
		page.Statuses[i] = w.reply(&tl.Statuses[i])
	}
	if n := len(tl.Statuses); n == p.Count {
		page.NextCursor = tl.Statuses[n-1].ID - 1
	}
	return page, nil
}

// download serves a media object from the node that owns it.
func (w *web) download(rw http.ResponseWriter, r *http.Request) {
	text := r.PathValue("id")
	id, err := objstore.ParseID(text)
	if err != nil || id.Node() >= len(w.media) {
		http.NotFound(rw, r)
		return
	}
	up, err := motan.Call[Upload](r.Context(), w.media[id.Node()], "fetch", &mediaRequest{ID: text})
	if isCode(err, codeNoSuchMedia) {
		http.NotFound(rw, r)
		return
	}
	if err != nil {
		http.Error(rw, "media not available now", http.StatusServiceUnavailable)
		return
	}
	// Uploads are other people's bytes: never let a browser run them.
	rw.Header().Set("Content-Type", cmp.Or(up.Type, "application/octet-stream"))
	rw.Header().Set("X-Content-Type-Options", "nosniff")
	rw.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	http.ServeContent(rw, r, "", id.Time(), bytes.NewReader(up.Data))
}

func (w *web) reply(s *Status) statusReply {
	uid := strconv.FormatInt(s.UID, 10)
	r := statusReply{
		CreatedAt: s.Created().Format(time.RubyDate),
		ID:        s.ID, IDStr: strconv.FormatInt(s.ID, 10),
		Text: s.Text, User: userReply{ID: s.UID, IDStr: uid}, ObjectID: s.Media,
	}
	if s.Media != "" {
		r.MediaURL = fmt.Sprintf("%s/media/%s", w.origin, s.Media)
	}
	return r
}

// apiError turns a failed call into the API's error table.
func apiError(err error) error {
	if isCode(err, codeNoSuchStatus) {
		return &webv4.Error{Status: http.StatusNotFound, Code: codeNoSuchStatus, Message: "target status does not exist"}
	}
	return webv4.Wrap(webv4.CodeRemoteService, err)
}

// byUser sends a user's calls to one provider, for as long as that is up: ids
// of one provider rise, so a user's posts of one second keep their order, and
// each timeline is in one cache instead of two.
func byUser(ctx context.Context, uid int64) context.Context {
	return motan.WithHashKey(ctx, strconv.FormatInt(uid, 10))
}

func userID(ctx context.Context) int64 {
	p, _ := webv4.PrincipalFrom(ctx)
	uid, _ := strconv.ParseInt(p.ID, 10, 64)
	return uid
}
