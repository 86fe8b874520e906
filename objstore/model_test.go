package objstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/objstore"
)

// A model of a library: what each object is, in memory.
type model struct {
	t       *testing.T
	rng     *rand.Rand
	clk     *clock
	dir     string
	opts    objstore.Options
	typ     objstore.Type[Picture]
	lib     *objstore.Library
	c       *objstore.Collection[Picture]
	objects map[objstore.ID]*modelObject
	ids     []objstore.ID
	log     []string
}

type modelObject struct {
	version uint64
	width   int
	tag     string
	deleted time.Time // zero: it is not
	expires time.Time
	content string         // "" for none
	history []modelVersion // the oldest first
}

type modelVersion struct {
	version uint64
	width   int
}

const modelHistory = 3

func TestModel(t *testing.T) {
	rounds := 8
	if long() {
		rounds = 300
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(seed), 7))
			m := &model{t: t, rng: rng, clk: newClock(), dir: filepath.Join(t.TempDir(), "lib"), objects: make(map[objstore.ID]*modelObject)}
			m.typ = pictureType
			m.typ.Indexes = []objstore.Index[Picture]{{Name: "tags"}}
			m.typ.History = modelHistory
			m.opts = objstore.Options{SweepEvery: -1, Grace: time.Hour, Retention: 24 * time.Hour, Dedupe: rng.IntN(2) == 0}
			if rng.IntN(2) == 0 {
				m.opts.Cache = &memory{m: make(map[string][]byte)}
			}
			if rng.IntN(2) == 0 {
				m.opts.Feed = time.Hour
			}
			m.opts.SetClock(m.clk.Now)
			for i := range 12 {
				id := objstore.ID{Type: 1042, Number: int64(1+i) << 30}
				if i%4 == 0 {
					id = objstore.URLID(1042, fmt.Sprint(i))
				}
				m.ids = append(m.ids, id)
			}
			m.open()
			for range 150 {
				m.step()
				if t.Failed() {
					t.Fatalf("after %s", strings.Join(m.log, "\n"))
				}
			}
			m.close()
		})
	}
}

func (m *model) open() {
	lib, err := objstore.Open(m.dir, &m.opts)
	if err != nil {
		m.t.Fatal(err)
	}
	m.lib, m.c = lib, collection(m.t, lib, m.typ)
}

func (m *model) close() {
	if err := m.lib.Close(); err != nil {
		m.t.Fatal(err)
	}
}

// is tells whether an object is visible, deleted, or not there.
func (m *model) is(id objstore.ID) (o *modelObject, visible bool) {
	o = m.objects[id]
	if o == nil {
		return nil, false
	}
	return o, o.deleted.IsZero() && (o.expires.IsZero() || o.expires.After(m.clk.Now()))
}

func (m *model) want(err, want error) bool {
	m.t.Helper()
	if !errors.Is(err, want) {
		m.t.Errorf("%v, want %v", err, want)
	}
	return err == nil
}

func (m *model) step() {
	id := m.ids[m.rng.IntN(len(m.ids))]
	o, visible := m.is(id)
	what := m.rng.IntN(14)
	m.log = append(m.log, fmt.Sprintf("%d %v visible=%v %+v", what, id, visible, o))
	switch what {
	case 0, 1, 2:
		m.create(id, o, visible)
	case 3, 4, 5:
		m.update(id, o, visible)
	case 6:
		if m.want(m.c.Delete(ctx, id), need(visible)) {
			o.push()
			o.version++
			o.deleted = m.clk.Now()
		}
	case 7:
		if m.want(m.c.Undelete(ctx, id), need(o != nil && !o.deleted.IsZero())) {
			o.push()
			o.version++
			o.deleted = time.Time{}
		}
	case 8:
		if m.rng.IntN(3) == 0 && m.want(m.c.Purge(ctx, id), need(o != nil)) {
			delete(m.objects, id)
		}
	case 9:
		m.clk.Add(time.Duration(m.rng.IntN(5)) * time.Hour / 2)
		m.sweep()
	case 10:
		m.close()
		m.open()
	case 11, 12:
		m.check()
	case 13:
		m.clk.Add(time.Duration(m.rng.IntN(40)) * time.Minute)
	}
}

func need(ok bool) error {
	if ok {
		return nil
	}
	return objstore.ErrNotFound
}

// fillIn gives an object new properties and returns what the model keeps of them.
func (m *model) fillIn(obj *objstore.Object[Picture]) (width int, tag string, expires time.Time, content string) {
	width, tag = m.rng.IntN(1000), fmt.Sprint("tag", m.rng.IntN(3))
	obj.Value.Width, obj.Tags, obj.Contents = width, []string{tag}, nil
	if m.rng.IntN(3) == 0 {
		expires = m.clk.Now().Add(time.Duration(1+m.rng.IntN(300)) * time.Minute)
	}
	obj.Expires = expires
	if m.rng.IntN(2) == 0 {
		content = fmt.Sprint("content ", m.rng.IntN(4))
		obj.Contents = []objstore.ContentInfo{upload(m.t, m.c, "x", content)}
	}
	return width, tag, expires, content
}

func (m *model) create(id objstore.ID, o *modelObject, visible bool) {
	obj := &objstore.Object[Picture]{Meta: objstore.Meta{ID: id}}
	n := &modelObject{version: 1}
	n.width, n.tag, n.expires, n.content = m.fillIn(obj)
	var want error
	if o != nil {
		if visible || !o.deleted.IsZero() {
			want = objstore.ErrExists
		}
		n.version, n.history = o.version+1, o.history // it had expired
	}
	if m.want(m.c.Create(ctx, obj), want) {
		if o != nil {
			o.push()
			n.history = o.history
		}
		m.objects[id] = n
		if obj.Version != n.version {
			m.t.Errorf("created version %d, want %d", obj.Version, n.version)
		}
	}
}

func (m *model) update(id objstore.ID, o *modelObject, visible bool) {
	obj := &objstore.Object[Picture]{Meta: objstore.Meta{ID: id, Version: 1}}
	want := need(visible)
	if visible {
		obj.Version = o.version
		if m.rng.IntN(4) == 0 {
			obj.Version++
			want = objstore.ErrConflict
		}
	}
	width, tag, expires, content := m.fillIn(obj)
	var err error
	if m.rng.IntN(3) == 0 {
		err = m.c.MultiPut(ctx, []*objstore.Object[Picture]{obj})[0]
	} else {
		err = m.c.Update(ctx, obj)
	}
	if m.want(err, want) {
		o.push()
		o.version++
		o.width, o.tag, o.expires, o.content = width, tag, expires, content
	}
}

// push keeps the present version.
func (o *modelObject) push() {
	o.history = append(slices.Clone(o.history), modelVersion{o.version, o.width})
	o.history = o.history[max(0, len(o.history)-modelHistory):]
}

func (m *model) sweep() {
	purged := 0
	now := m.clk.Now()
	for id, o := range m.objects {
		if !o.deleted.IsZero() && !o.deleted.Truncate(time.Microsecond).Add(24*time.Hour).After(now) ||
			o.deleted.IsZero() && !o.expires.IsZero() && !o.expires.After(now) {
			delete(m.objects, id)
			purged++
		}
	}
	if r := sweep(m.t, m.lib); r.Purged != purged {
		m.t.Errorf("purged %d, want %d", r.Purged, purged)
	}
}

// check compares everything that can be read.
func (m *model) check() {
	tags := make(map[string][]int)
	var all []int
	objs, err := m.c.MultiGet(ctx, m.ids)
	if err != nil {
		m.t.Fatal(err)
	}
	for i, id := range m.ids {
		o, visible := m.is(id)
		got, err := m.c.Get(ctx, id)
		if !m.want(err, need(visible)) || objs[i] == nil {
			if objs[i] != nil {
				m.t.Errorf("%v: MultiGet has it", id)
			}
		} else {
			if got.Version != o.version || got.Value.Width != o.width || !slices.Equal(got.Tags, []string{o.tag}) || objs[i].Version != o.version {
				m.t.Errorf("%v: %+v, want %+v", id, got, o)
			}
			if o.content == "" != (len(got.Contents) == 0) {
				m.t.Errorf("%v: contents %v, want %q", id, got.Contents, o.content)
			} else if o.content != "" {
				wantContent(m.t, m.lib, &got.Contents[0], o.content)
			}
			tags[o.tag] = append(tags[o.tag], o.width)
			all = append(all, o.width)
		}
		m.checkHistory(id, o)
	}
	for _, tag := range []string{"tag0", "tag1", "tag2"} {
		m.sameWidths(tag, collect(m.t, m.c.Find(ctx, "tags", tag, nil)), tags[tag])
	}
	m.sameWidths("scan", collect(m.t, m.c.Scan(ctx, nil)), all)
}

func (m *model) checkHistory(id objstore.ID, o *modelObject) {
	versions, err := m.c.Versions(ctx, id)
	if !m.want(err, need(o != nil)) {
		return
	}
	want := append(slices.Clone(o.history), modelVersion{o.version, o.width})
	slices.Reverse(want)
	var got []modelVersion
	for _, v := range versions {
		got = append(got, modelVersion{v.Version, v.Value.Width})
		for i := range v.Contents {
			r, err := m.lib.OpenContent(ctx, &v.Contents[i])
			if err != nil {
				m.t.Fatal(err)
			}
			if _, err := r.WriteTo(discard{}); err != nil {
				m.t.Errorf("%v version %d: %v", id, v.Version, err)
			}
			_ = r.Close()
		}
	}
	if !slices.Equal(got, want) {
		m.t.Errorf("%v: versions %v, want %v", id, got, want)
	}
}

func (m *model) sameWidths(what string, got, want []int) {
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		m.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
