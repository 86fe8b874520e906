package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

type (
	placeOrder struct {
		_    struct{} `route:"POST /orders" auth:"user" scopes:"orders" class:"critical" cost:"orders" idempotent:"24h" quota:"user=1000/h,app+user=5000/d" degrade:"orders=shed,off" replies:"201,404,409,422" id:"placeOrder" tags:"orders" summary:"Buy something" doc:"Of all calls the last to be refused. With an Idempotency-Key it is safe to send it again."`
		Body struct {
			Product  int64 `json:"product" required:"true" min:"1" example:"3"`
			Quantity int   `json:"quantity" default:"1" min:"1" max:"100" example:"2"`
		} `body:"" required:"true"`
	}
	listOrders struct {
		_     struct{} `route:"GET /orders" auth:"user" scopes:"orders" degrade:"orders=off" id:"listOrders" tags:"orders" summary:"What the caller has bought" doc:"The newest first."`
		Count int      `query:"count" default:"20" min:"1" max:"100"`
		MaxID int64    `query:"max_id" min:"0" doc:"only orders before this one: next_cursor of the page before"`
	}
	orderPage struct {
		Orders     []order `json:"orders"`
		NextCursor int64   `json:"next_cursor" doc:"0 on the last page"`
	}
	watchOrders struct {
		_ struct{} `route:"GET /orders/events" auth:"user" scopes:"orders" quota:"user=600/h" id:"watchOrders" tags:"orders" summary:"News of orders" doc:"Server-sent events: ready, then one for each order of the caller's. A page that shows replies when they are whole shows nothing until the end; use curl -N."`
	}
	batchCalls struct {
		_    struct{}           `route:"POST /batch" auth:"user" timeout:"10s" id:"batch" tags:"orders" summary:"Many calls in one"`
		Body webv4.BatchRequest `body:"" required:"true"`
	}
)

func (s *shop) orders(v1 *webv4.API) {
	webv4.Handle(v1, func(ctx context.Context, in *placeOrder) (*order, error) {
		p, _ := webv4.PrincipalFrom(ctx)
		o, err := s.store.place(p.ID, in.Body.Product, in.Body.Quantity)
		if err != nil {
			return nil, failure(err)
		}
		s.news.tell(o)
		webv4.SetStatus(ctx, http.StatusCreated)
		return &o, nil
	})
	webv4.Handle(v1, func(ctx context.Context, in *listOrders) (*orderPage, error) {
		p, _ := webv4.PrincipalFrom(ctx)
		page := &orderPage{Orders: s.store.ordersOf(p.ID, in.MaxID, in.Count)}
		if n := len(page.Orders); n == in.Count && page.Orders[n-1].ID > 1 {
			page.NextCursor = page.Orders[n-1].ID
		}
		return page, nil
	})
	webv4.Handle(v1, func(ctx context.Context, _ *watchOrders) (*webv4.Events, error) {
		p, _ := webv4.PrincipalFrom(ctx)
		return &webv4.Events{Run: func(ctx context.Context, send func(webv4.Event) error) error {
			return s.news.watch(ctx, p.ID, send)
		}}, nil
	})
	webv4.Handle(v1, func(ctx context.Context, in *batchCalls) (*webv4.BatchReply, error) {
		return s.api.Batch(ctx, &in.Body)
	})
}

// hub tells those who watch of new orders.
type hub struct {
	mu       sync.Mutex
	watchers map[chan order]string // whose orders
	closed   bool
}

// behind is how many orders a watcher may be behind before it misses some: it
// finds them in the list.
const (
	behind     = 64
	heartbeats = 15 * time.Second
)

func (h *hub) tell(o order) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c, user := range h.watchers {
		if user != o.user {
			continue
		}
		select {
		case c <- o:
		default:
		}
	}
}

// watch sends a user's orders until ctx is done or the shop closes.
func (h *hub) watch(ctx context.Context, user string, send func(webv4.Event) error) error {
	c := make(chan order, behind)
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	if h.watchers == nil {
		h.watchers = map[chan order]string{}
	}
	h.watchers[c] = user
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.watchers, c)
		h.mu.Unlock()
	}()
	if err := send(webv4.Event{Name: "ready", Retry: 3 * time.Second}); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeats)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			if err := send(webv4.Event{Name: "beat"}); err != nil {
				return err
			}
		case o, ok := <-c:
			if !ok {
				return nil
			}
			text, err := json.Marshal(o)
			if err != nil {
				return err
			}
			if err := send(webv4.Event{ID: strconv.FormatInt(o.ID, 10), Name: "order", Data: string(text)}); err != nil {
				return err
			}
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	for c := range h.watchers {
		close(c)
		delete(h.watchers, c)
	}
}
