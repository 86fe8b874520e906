package ssdcache_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/heddle-go/heddle/ssdcache"
)

func TestCompress(t *testing.T) {
	path := temp(t)
	opts := &ssdcache.Options{SegmentSize: testSegment, Compress: true, Logger: quiet()}
	c := open(t, path, 20*testSegment, opts)
	noise := make([]byte, 3000)
	_, _ = rand.Read(noise)
	values := map[string][]byte{
		"empty": {}, "small": []byte("small"), "noise": noise, "zeros": make([]byte, 10_000),
		"text": bytes.Repeat([]byte("a line of text, and "), 100), "half": append(make([]byte, 3000), noise...),
	}
	const rounds = 100 // several segments
	for i := range rounds {
		for name, v := range values {
			if err := c.Set(fmt.Append(nil, name, i), v, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func() {
		t.Helper()
		for i := range rounds {
			for name, v := range values {
				got, err := c.Get([]byte("before "), fmt.Append(nil, name, i))
				if err != nil || string(got) != "before "+string(v) {
					t.Fatalf("%s %d: %d bytes, %v", name, i, len(got), err)
				}
			}
		}
	}
	check()
	s := c.Stats()
	if s.DeviceHits == 0 || s.UserBytes < 2*s.DeviceBytes {
		t.Errorf("%+v", s)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	// Another one that does not compress reads the same.
	c = open(t, path, 20*testSegment, nil)
	check()
	if s := c.Stats(); s.DeviceHits == 0 || s.BufferHits != 0 || s.Corrupt != 0 {
		t.Errorf("%+v", s)
	}
}
