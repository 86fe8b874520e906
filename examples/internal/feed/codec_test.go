package feed

import (
	"bytes"
	"reflect"
	"testing"
)

var testStatuses = []Status{
	{ID: 5369090784886986, UID: 1000, CreatedAt: 1388505600000, Text: "新年快乐", Media: "11:5369090784886986", Key: "k"},
	{ID: 1},
	{ID: 1<<63 - 1, UID: 1<<63 - 1, CreatedAt: 1<<63 - 1, Text: string(bytes.Repeat([]byte{'x'}, 300))},
}

func TestStatusRoundTrip(t *testing.T) {
	for _, want := range testStatuses {
		b, err := want.AppendBinary([]byte("kept"))
		if err != nil || string(b[:4]) != "kept" {
			t.Fatalf("AppendBinary: %q, %v", b, err)
		}
		var got Status
		if err := got.UnmarshalBinary(b[4:]); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		for n := range len(b) - 4 {
			if err := got.UnmarshalBinary(b[4 : 4+n]); err == nil {
				t.Errorf("the first %d of %d bytes decode", n, len(b)-4)
			}
		}
		if err := got.UnmarshalBinary(append(b[4:], 0)); err == nil {
			t.Error("a byte after the end decodes")
		}
	}
	if _, err := (&Status{ID: -1}).AppendBinary(nil); err == nil {
		t.Error("a negative id encodes")
	}
}

func TestTimelinePageRoundTrip(t *testing.T) {
	for _, want := range [][]Status{{}, testStatuses[:1], testStatuses} {
		b, err := timelineCodec{}.Append(nil, &want)
		if err != nil {
			t.Fatal(err)
		}
		var got []Status
		if err := (timelineCodec{}).Decode(b, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		for n := range len(b) {
			if err := (timelineCodec{}).Decode(b[:n], &got); err == nil {
				t.Errorf("the first %d of %d bytes decode", n, len(b))
			}
		}
	}
}

func FuzzTimelinePage(f *testing.F) {
	for n := range len(testStatuses) + 1 {
		page := testStatuses[:n]
		b, _ := timelineCodec{}.Append(nil, &page)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second []Status
		if (timelineCodec{}).Decode(b, &first) != nil {
			return
		}
		again, err := timelineCodec{}.Append(nil, &first)
		if err != nil {
			t.Fatal(err)
		}
		if err := (timelineCodec{}).Decode(again, &second); err != nil || !reflect.DeepEqual(first, second) {
			t.Fatalf("%+v became %+v, %v", first, second, err)
		}
	})
}
