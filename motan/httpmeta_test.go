package motan_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/motan"
)

// ways are the same server over each way to reach it.
func ways(t testing.TB, srv *motan.Server) map[string]motan.Registry {
	t.Helper()
	web := httptest.NewServer(srv.HTTPHandler())
	t.Cleanup(web.Close)
	return map[string]motan.Registry{"tcp": motan.Static(startServer(t, srv)), "http": motan.Static(web.URL), "in process": motan.InProcess(srv)}
}

func TestMetadataIsTheSameEveryWay(t *testing.T) {
	pairs := map[string]string{
		"requestIdFromClient": "r-1", "tenant": "acme", "a b": "c", "naïve": "ü\tx", "100%": "50%", "%41": "x%41",
		"trace.id_7-x": " spaces around ", "star*": "*", "X-Upper": "Y", "\x00\xff": "\x01",
	}
	var seen motan.Incoming
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "m", func(ctx context.Context, _ *string) (*string, error) {
		seen, _ = motan.IncomingCall(ctx)
		for k, v := range pairs {
			if err := motan.Reply(ctx, k, v); err != nil {
				return nil, err
			}
		}
		return new(string), nil
	})
	for way, reg := range ways(t, srv) {
		c := newClient(t, "s", reg, &motan.ClientOptions{Serializer: motan.JSON{}, Application: "Äpp", Group: "g 1", Version: "2.0"})
		ctx := t.Context()
		for k, v := range pairs {
			ctx = motan.WithMetadata(ctx, k, v)
		}
		reply := motan.Metadata{{Key: "old", Value: "old"}}
		if _, err := motan.Call[string](motan.WithReply(ctx, &reply), c, "m", "x"); err != nil {
			t.Errorf("%s: %v", way, err)
			continue
		}
		if seen.Application != "Äpp" || seen.Group != "g 1" || seen.Version != "2.0" {
			t.Errorf("%s: the caller is %q, group %q, version %q", way, seen.Application, seen.Group, seen.Version)
		}
		if got := asMap(seen.Metadata); !reflect.DeepEqual(got, pairs) {
			t.Errorf("%s: the handler sees %q", way, got)
		}
		got := asMap(reply)
		delete(got, "M_pt")
		if !reflect.DeepEqual(got, pairs) {
			t.Errorf("%s: the caller gets %q", way, got)
		}
		// The last value of a key counts.
		ctx = motan.WithMetadata(motan.WithMetadata(t.Context(), "k", "ä"), "k", "b")
		if _, err := motan.Call[string](ctx, c, "m", "x"); err != nil || seen.Metadata.Get("k") != "b" {
			t.Errorf("%s: %v, k is %q", way, err, seen.Metadata.Get("k"))
		}
		if s := c.Stats().Endpoints[0]; s.Errors != 0 {
			t.Errorf("%s: %d errors of the endpoint", way, s.Errors)
		}
	}
}

func TestHTTPMetadataOfOthers(t *testing.T) {
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "m", func(ctx context.Context, _ *string) (*string, error) {
		in, _ := motan.IncomingCall(ctx)
		s := fmt.Sprintf("%q %q", in.Metadata, in.Group)
		return &s, nil
	})
	for want, h := range map[string]http.Header{
		`[] ""`: {"Motan-Meta-%4d_g": {"stolen"}, "Motan-Meta-Traceparent": {"x"}, "Motan-Meta-": {"x"}, "Motan-Meta-Empty": {""}, "Motan-Meta-Lf*": {"a%0Ab"}, "Motan-Meta-Bad*": {"%zz"}, "Motan-Group*": {"%zz"}},
		`[{"trace-id" "50%"} {"trace-id" "2"}] "g"`: {"Motan-Meta-Trace-Id": {"50%", "2"}, "Motan-Group": {"g"}},
		`[{"50%" "x"}] ""`:                          {"Motan-Meta-50%": {"x"}},
	} {
		r := httptest.NewRequest("POST", "/s/m", strings.NewReader(`"x"`))
		r.Header = h
		h.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		srv.HTTPHandler().ServeHTTP(w, r)
		if got := strings.TrimSpace(w.Body.String()); got != fmt.Sprintf("%q", want) {
			t.Errorf("%v: %s, want %q", h, got, want)
		}
	}
}

func TestHTTPRefusesWhatNoHeaderHolds(t *testing.T) {
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "m", func(_ context.Context, s *string) (*string, error) { return s, nil })
	reg := ways(t, srv)["http"]
	for what, err := range map[string]error{
		"metadata": func() error {
			_, err := motan.Call[string](motan.WithMetadata(t.Context(), "k", strings.Repeat("x", 1<<20)), newClient(t, "s", reg, nil), "m", "x")
			return err
		}(),
		"Token": func() error {
			_, err := motan.Call[string](t.Context(), newClient(t, "s", reg, &motan.ClientOptions{Token: "ä"}), "m", "x")
			return err
		}(),
	} {
		var e *motan.Error
		if !errors.As(err, &e) || e.Code != motan.CodeEncode || !strings.Contains(e.Message, what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func asMap(m motan.Metadata) map[string]string {
	all := make(map[string]string)
	for _, p := range m {
		all[p.Key] = p.Value
	}
	return all
}

// FuzzHTTPMetadata holds that every pair arrives as it was sent, and that no
// headers make the reader fail.
func FuzzHTTPMetadata(f *testing.F) {
	f.Add("requestIdFromClient", "r-1")
	f.Add("a b%2", " ü\t")
	f.Add("*", "%zz")
	srv := newServer(f, nil)
	var seen motan.Metadata
	motan.Handle(srv, "s", "m", func(ctx context.Context, _ *string) (*string, error) {
		in, _ := motan.IncomingCall(ctx)
		seen = in.Metadata
		return new(string), nil
	})
	c := newClient(f, "s", ways(f, srv)["http"], nil)
	f.Fuzz(func(t *testing.T, key, value string) {
		_, err := motan.Call[string](motan.WithMetadata(context.Background(), key, value), c, "m", "x")
		var e *motan.Error
		if errors.As(err, &e) && e.Code == motan.CodeEncode {
			return // not to be sent any way
		}
		want := motan.Metadata{{Key: key, Value: value}}
		if err != nil || !slices.Equal(seen, want) {
			t.Fatalf("%v; %q became %q", err, want, seen)
		}
		r := httptest.NewRequest("POST", "/s/m", nil)
		r.Header["Motan-Meta-"+key] = []string{value}
		srv.HTTPHandler().ServeHTTP(httptest.NewRecorder(), r)
	})
}
