package zipkin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/zipkin"
)

func TestSpans(t *testing.T) {
	w, err := watchman.New("shop", &watchman.Options{Sample: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, root := w.Operation(watchman.Server, "GET /cart").Start(t.Context())
	_, c := w.Operation(watchman.Client, "db").Start(ctx)
	c.SetAttr("rows", "3")
	c.Phase("send")
	c.AddLink(root.SpanContext())
	c.End(errors.New("gone"))
	root.End(nil)
	b, err := zipkin.Marshal(w.Trace(root.SpanContext().TraceID))
	if err != nil {
		t.Fatal(err)
	}
	var got []zipkin.Span
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Kind != "SERVER" || got[0].ParentID != "" || got[0].LocalEndpoint.ServiceName != "shop" || got[0].Tags["heddle.keep"] != watchman.KeepSampled {
		t.Errorf("root %+v", got[0])
	}
	db := got[1]
	if db.ParentID != got[0].ID || db.TraceID != got[0].TraceID || db.Kind != "CLIENT" || db.Tags["error"] != "gone" || db.Tags["rows"] != "3" ||
		db.Tags["link.0"] != got[0].TraceID+"-"+got[0].ID || len(db.Annotations) != 1 || db.Duration < 1 || db.Timestamp < 1e15 {
		t.Errorf("child %+v", db)
	}
	if b, err := zipkin.Marshal(nil); err != nil || string(b) != "[]" {
		t.Errorf("no spans: %s, %v", b, err)
	}
}

func ExampleMarshal() {
	var id watchman.TraceID
	id[15] = 1
	b, err := zipkin.Marshal([]watchman.SpanRecord{{TraceID: id, SpanID: watchman.SpanID{1}, Service: "shop", Name: "tidy"}})
	fmt.Println(len(b) > 0, err)
	// Output: true <nil>
}
