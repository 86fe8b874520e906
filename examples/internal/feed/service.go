package feed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/ssdcache"
)

const (
	// feedService is the Motan service of the service tier.
	feedService = "feed.Feed"
	// mediaService serves the objects of one node; the web tier picks the node.
	mediaService = "feed.Media"

	cacheSize = 64 << 20

	// timelineTTL is how stale a timeline page may be. Statuses never change, but
	// one that is asked for before the processor has stored it appears later.
	timelineTTL = time.Second
	statusTTL   = time.Hour
	absentTTL   = 100 * time.Millisecond
)

// service is one provider of the service tier.
type service struct {
	ids     *objstore.Generator
	objects *objstore.Library
	media   *objstore.Collection[media]
	db      *motan.Client
	queue   *mcq.RemoteQueue

	statuses  *ssdcache.Tiered[Status]
	timelines *ssdcache.Tiered[[]Status]
}

// startService runs one provider: it gives a new status its id, keeps its
// media, and answers when the queue has it; reads go through the cache.
func startService(cfg Config) (*tier, error) {
	name := fmt.Sprintf("%s-%d", RoleService, cfg.Node)
	t, err := newTier(name)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cfg.Data, name)
	s := &service{}
	if err := s.open(t, cfg, dir); err != nil {
		return nil, t.abort(err)
	}
	srv, err := motan.NewServer(&motan.ServerOptions{Watchman: t.watch})
	if err != nil {
		return nil, t.abort(err)
	}
	motan.Handle(srv, feedService, "update", s.update)
	motan.Handle(srv, feedService, "show", s.show)
	motan.Handle(srv, feedService, "timeline", s.timeline)
	motan.Handle(srv, mediaService, "fetch", s.fetch)
	if err := t.serveMotan(srv, cfg.Services[cfg.Node]); err != nil {
		return nil, t.abort(err)
	}
	return t, nil
}

func (s *service) open(t *tier, cfg Config, dir string) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	s.ids, err = objstore.NewGenerator(&objstore.GeneratorOptions{
		IDC: cfg.Node, Business: 0, StateFile: filepath.Join(dir, "ids"),
	})
	if err != nil {
		return err
	}
	t.onStop("id generator", func(context.Context) error { return s.ids.Close() })
	s.objects, err = objstore.Open(filepath.Join(dir, "objects"), &objstore.Options{Generator: s.ids, Watchman: t.watch})
	if err != nil {
		return err
	}
	t.onStop("object library", func(context.Context) error { return s.objects.Close() })
	if s.media, err = openMedia(s.objects); err != nil {
		return err
	}

	queue, err := mcq.Dial(cfg.Queue, &mcq.ClientOptions{Watchman: t.watch})
	if err != nil {
		return err
	}
	t.onStop("queue client", func(context.Context) error { return queue.Close() })
	s.queue = queue.Queue(queueName)

	db, err := motan.NewClient(storeService, motan.Static(cfg.Processor), &motan.ClientOptions{
		Application: t.name, Watchman: t.watch, Idempotent: []string{"show", "timeline"}, Retries: 2,
	})
	if err != nil {
		return err
	}
	t.onStop("store client", func(context.Context) error { return db.Close() })
	s.db = db

	cache, err := ssdcache.Open(filepath.Join(dir, "cache"), cacheSize, &ssdcache.Options{Watchman: t.watch})
	if err != nil {
		return err
	}
	t.onStop("cache", func(context.Context) error { return cache.Close() })
	s.statuses, err = ssdcache.NewTiered(cache, s.loadStatus, &ssdcache.TieredOptions{
		Name: "status", TTL: statusTTL, NegativeTTL: absentTTL, Codec: statusCodec{}, Watchman: t.watch,
	})
	if err != nil {
		return err
	}
	s.timelines, err = ssdcache.NewTiered(cache, s.loadTimeline, &ssdcache.TieredOptions{
		Name: "timeline", TTL: timelineTTL, Codec: timelineCodec{}, Watchman: t.watch,
	})
	return err
}

// update gives the status an id, keeps its media, and returns once the queue
// has it on disk.
func (s *service) update(ctx context.Context, q *updateRequest) (*Status, error) {
	id, err := s.ids.Next()
	if err != nil {
		return nil, err
	}
	st := &Status{ID: id, UID: q.UID, CreatedAt: time.Now().UnixMilli(), Text: q.Text, Key: q.Key}
	if q.Media != nil {
		if st.Media, err = s.keep(ctx, st, q.Media); err != nil {
			return nil, err
		}
	}
	body, err := st.AppendBinary(make([]byte, 0, 64+len(st.Text)+len(st.Key)))
	if err != nil {
		return nil, err
	}
	if err := s.enqueue(ctx, body); err != nil {
		return nil, err
	}
	return st, nil
}

// enqueue tries again while the queue is away. A message that got in twice
// carries the same status id and so ends up in the database once.
func (s *service) enqueue(ctx context.Context, body []byte) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := s.queue.Put(ctx, mcq.Message{Body: body})
		if err == nil || !mcq.Retryable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

func (s *service) show(ctx context.Context, q *showRequest) (*Status, error) {
	st, err := s.statuses.Get(ctx, strconv.FormatInt(q.ID, 10))
	if errors.Is(err, ssdcache.ErrNotFound) {
		return nil, &motan.Error{Code: codeNoSuchStatus, Type: motan.Business, Message: "no such status"}
	}
	return &st, err
}

func (s *service) timeline(ctx context.Context, q *timelineRequest) (*timelineReply, error) {
	page, err := s.timelines.Get(ctx, q.page())
	return &timelineReply{Statuses: page}, err
}

// loadStatus and loadTimeline ask the database for what is in no cache.
func (s *service) loadStatus(ctx context.Context, key string) (Status, error) {
	id, err := strconv.ParseInt(key, 10, 64)
	if err != nil {
		return Status{}, err
	}
	st, err := motan.Call[Status](ctx, s.db, "show", &showRequest{ID: id})
	if isCode(err, codeNoSuchStatus) {
		return Status{}, ssdcache.ErrNotFound
	}
	if err != nil {
		return Status{}, err
	}
	return *st, nil
}

func (s *service) loadTimeline(ctx context.Context, key string) ([]Status, error) {
	q, err := parsePage(key)
	if err != nil {
		return nil, err
	}
	reply, err := motan.Call[timelineReply](ctx, s.db, "timeline", q)
	if err != nil {
		return nil, err
	}
	return reply.Statuses, nil
}

// page is the cache key of a timeline request.
func (q *timelineRequest) page() string {
	b := make([]byte, 0, 48)
	b = strconv.AppendInt(b, q.UID, 10)
	b = strconv.AppendInt(append(b, '/'), q.MaxID, 10)
	b = strconv.AppendInt(append(b, '/'), int64(q.Count), 10)
	return string(b)
}

func parsePage(key string) (*timelineRequest, error) {
	q := &timelineRequest{}
	if _, err := fmt.Sscanf(key, "%d/%d/%d", &q.UID, &q.MaxID, &q.Count); err != nil {
		return nil, fmt.Errorf("feed: timeline page %q: %w", key, err)
	}
	return q, nil
}

func isCode(err error, code int) bool {
	var e *motan.Error
	return errors.As(err, &e) && e.Code == code
}
