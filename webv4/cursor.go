package webv4

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// Cursors makes cursors of positions in a list: text that clients give back to
// get the next page. A cursor is signed, so that nobody can make or change one,
// and good for the interface and the user that it was made for; it is not
// encrypted. It is safe for concurrent use.
type Cursors struct{ key [sha256.Size]byte }

const (
	minCursorSecret = 16
	cursorMAC       = 16   // bytes
	maxCursor       = 2048 // bytes of a position
)

// NewCursors returns Cursors that sign with a secret of at least 16 bytes, the
// same in every process that serves the API.
func NewCursors(secret []byte) (*Cursors, error) {
	if len(secret) < minCursorSecret {
		return nil, fmt.Errorf("webv4: NewCursors: a secret of %d bytes, want at least %d", len(secret), minCursorSecret)
	}
	c := &Cursors{}
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("webv4 cursor"))
	m.Sum(c.key[:0])
	return c, nil
}

// Encode returns the cursor of a position, any value that encoding/json writes
// in at most 2048 bytes, for the call that ctx belongs to.
func (c *Cursors) Encode(ctx context.Context, position any) (string, error) {
	data, err := json.Marshal(position)
	if err != nil {
		return "", fmt.Errorf("webv4: cursor: %w", err)
	}
	if len(data) > maxCursor {
		return "", fmt.Errorf("webv4: cursor: a position of %d bytes, want at most %d", len(data), maxCursor)
	}
	mac, err := c.mac(ctx, data)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(mac, data...)), nil
}

// Decode reads the position that Encode was given. An empty cursor, that of the
// first page, leaves position as it is. Any other that Encode has not made for
// the same interface and user fails with the error to answer, 10017.
func (c *Cursors) Decode(ctx context.Context, cursor string, position any) error {
	if cursor == "" {
		return nil
	}
	broken := Errorf(CodeInvalid, "(cursor) expect (one of an earlier reply), but get (%s)", shorten(cursor))
	if len(cursor) > base64.RawURLEncoding.EncodedLen(maxCursor+cursorMAC) {
		return broken
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(data) < cursorMAC {
		return broken
	}
	sent, data := data[:cursorMAC], data[cursorMAC:]
	mac, err := c.mac(ctx, data)
	if err != nil {
		return err
	}
	if !hmac.Equal(sent, mac) || json.Unmarshal(data, position) != nil {
		return broken
	}
	return nil
}

func (c *Cursors) mac(ctx context.Context, data []byte) ([]byte, error) {
	call := callFrom(ctx)
	if call == nil {
		return nil, errors.New("webv4: cursor: the context belongs to no call")
	}
	m := hmac.New(sha256.New, c.key[:])
	fmt.Fprintf(m, "%q %q %q ", call.op.name, call.caller.principal.App, call.caller.principal.ID)
	m.Write(data)
	return m.Sum(nil)[:cursorMAC], nil
}

// IDPage is how the platform's timelines are paged, by ids that grow with time.
// Embed it in a request struct:
//
//	type timeline struct {
//		_ struct{} `route:"GET /2/statuses/user_timeline.json"`
//		webv4.IDPage
//	}
type IDPage struct {
	SinceID int64 `query:"since_id" default:"0" min:"0" doc:"only what is newer than this id"`
	MaxID   int64 `query:"max_id" default:"0" min:"0" doc:"only what is as old as this id or older; 0: from the newest on"`
	Count   int   `query:"count" default:"20" min:"1" max:"200" doc:"of a page, at most"`
}

// Holds reports whether an id belongs to the pages asked for.
func (p *IDPage) Holds(id int64) bool { return id > p.SinceID && (p.MaxID == 0 || id <= p.MaxID) }

// Limit is how many items to look up: one more than a page has, which tells
// whether there is another page.
func (p *IDPage) Limit() int { return p.Count + 1 }

// PageOf cuts a page out of items, newest first, that p holds, at most p.Limit()
// of them. next is the max_id of the next page, the reply's next_cursor: 0 if
// this is the last.
func PageOf[T any](p *IDPage, items []T, id func(T) int64) (page []T, next int64) {
	if len(items) <= p.Count {
		return items, 0
	}
	return items[:p.Count], id(items[p.Count])
}
