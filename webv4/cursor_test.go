package webv4_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

type listing struct {
	_      struct{} `route:"GET /list.json" auth:"user"`
	Cursor string   `query:"cursor"`
}

type otherListing struct {
	_      struct{} `route:"GET /other.json" auth:"user"`
	Cursor string   `query:"cursor"`
}

type pageOut struct {
	Items []int  `json:"items"`
	Next  string `json:"next"`
}

func TestCursors(t *testing.T) {
	if _, err := webv4.NewCursors([]byte("short")); err == nil {
		t.Error("a short secret")
	}
	cursors, err := webv4.NewCursors([]byte("a secret of enough bytes"))
	if err != nil {
		t.Fatal(err)
	}
	a := newAPI(t, &webv4.Options{Authenticator: users{}})
	list := func(ctx context.Context, cursor string) (*pageOut, error) {
		at := struct{ N int }{1}
		if err := cursors.Decode(ctx, cursor, &at); err != nil {
			return nil, err
		}
		out := &pageOut{}
		for ; at.N <= 10 && len(out.Items) < 4; at.N++ {
			out.Items = append(out.Items, at.N)
		}
		if at.N <= 10 {
			if out.Next, err = cursors.Encode(ctx, at); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	webv4.Handle(a, func(ctx context.Context, in *listing) (*pageOut, error) { return list(ctx, in.Cursor) })
	webv4.Handle(a, func(ctx context.Context, in *otherListing) (*pageOut, error) { return list(ctx, in.Cursor) })
	var seen []int
	var second string
	for cursor := ""; ; {
		r := do(t, a, "GET /list.json?cursor="+cursor, "", "Authorization: Bearer 7")
		var out pageOut
		if err := json.Unmarshal([]byte(r.body), &out); err != nil || r.status != 200 {
			t.Fatal(r, err)
		}
		seen = append(seen, out.Items...)
		if cursor = out.Next; cursor == "" {
			break
		}
		if second == "" {
			second = cursor
		}
	}
	if !slices.Equal(seen, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
		t.Error(seen)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(second)
	refused := []string{"x", "AAAA", second[1:], second + "A", second + "=", strings.Repeat("A", 5000)}
	for i := range raw { // no byte of it can be changed
		changed := slices.Clone(raw)
		changed[i] ^= 1
		refused = append(refused, base64.RawURLEncoding.EncodeToString(changed))
	}
	for _, cursor := range refused {
		do(t, a, "GET /list.json?cursor="+cursor, "", "Authorization: Bearer 7").fails(t, 400, webv4.CodeInvalid, "(cursor) expect (one of an earlier reply)")
	}
	do(t, a, "GET /list.json?cursor="+second, "", "Authorization: Bearer 8").fails(t, 400, webv4.CodeInvalid, "(cursor)")
	do(t, a, "GET /other.json?cursor="+second, "", "Authorization: Bearer 7").fails(t, 400, webv4.CodeInvalid, "(cursor)")
	if _, err := cursors.Encode(context.Background(), 1); err == nil {
		t.Error("outside of a call")
	}
}

func TestIDPages(t *testing.T) {
	type in struct {
		_ struct{} `route:"GET /timeline.json"`
		webv4.IDPage
	}
	type out struct {
		IDs  []int64 `json:"ids"`
		Next int64   `json:"next_cursor"`
	}
	a := newAPI(t, nil)
	webv4.Handle(a, func(_ context.Context, in *in) (*out, error) {
		var found []int64
		for id := int64(100); id > 0 && len(found) < in.Limit(); id -= 3 {
			if in.Holds(id) {
				found = append(found, id)
			}
		}
		page, next := webv4.PageOf(&in.IDPage, found, func(id int64) int64 { return id })
		return &out{page, next}, nil
	})
	var all []int64
	for next := int64(0); ; {
		r := do(t, a, fmt.Sprintf("GET /timeline.json?count=10&since_id=10&max_id=%d", next), "")
		var page out
		if err := json.Unmarshal([]byte(r.body), &page); err != nil {
			t.Fatal(r, err)
		}
		all = append(all, page.IDs...)
		if next = page.Next; next == 0 {
			break
		}
	}
	if len(all) != 30 || all[0] != 100 || all[29] != 13 || !slices.IsSortedFunc(all, func(a, b int64) int { return int(b - a) }) {
		t.Error(all)
	}
	do(t, a, "GET /timeline.json?count=201", "").fails(t, 400, webv4.CodeInvalid, "(count)")
	do(t, a, "GET /timeline.json?since_id=-1", "").fails(t, 400, webv4.CodeInvalid, "(since_id)")
}
