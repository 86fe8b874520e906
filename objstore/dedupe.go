package objstore

import "context"

// With Options.Dedupe a content is stored once for all objects that have it.
// The first object that has it also enters its sum. An upload of the same sum
// drops its own bytes and takes those; the commit that makes them part of an
// object is over within three quarters of Options.Grace of that look-up. The
// sweep removes a content in two steps: first the entry of its sum, and only
// Grace later, if still nothing has it, the content. So who found the entry has
// made the content part of an object, or never will, when it is looked at last.

// use adds to c that an object has an uploaded content.
func (l *Library) use(c *Change, u *upload, id ID) {
	c.Put = append(c.Put, Row{Key: useKey(u.info.Key, id), Value: u.info.SHA256[:]})
	if u.adopted {
		return
	}
	if l.opts.Dedupe {
		c.Put = append(c.Put, Row{Key: sumKey(u.info.SHA256), Value: []byte(u.info.Key)})
	}
	c.Delete = append(c.Delete, timeKey(prefixIntent, u.intent, u.info.Key))
}

// contentOf finds a content with a sum; empty if there is none.
func (l *Library) contentOf(ctx context.Context, sum SHA256) (key string, err error) {
	err = l.store.Get(ctx, [][]byte{sumKey(sum)}, func(_ int, row Row) error {
		key = string(row.Value)
		return nil
	})
	return key, err
}

// adopt makes an upload use a content of the same sum that is there already, and
// removes its own. An error of the removal leaves it to the sweep.
func (l *Library) adopt(ctx context.Context, u *upload) error {
	key, err := l.contentOf(ctx, u.info.SHA256)
	if err != nil || key == "" {
		return err
	}
	own := u.info.Key
	u.info.Key, u.adopted = key, true
	l.counters.deduplicated.Add(1)
	if l.content.Delete(ctx, own) == nil {
		_ = l.store.Commit(ctx, []Change{{Delete: [][]byte{timeKey(prefixIntent, u.intent, own)}}})
	}
	return nil
}

// unlist takes a content that nothing has out of the sums, and tells whether it
// was there.
func (l *Library) unlist(ctx context.Context, key string, sum SHA256, c *Change) (bool, error) {
	listed, err := l.contentOf(ctx, sum)
	if err != nil || listed != key {
		return false, err
	}
	c.Delete = append(c.Delete, sumKey(sum))
	c.Put = append(c.Put, Row{Key: timeKey(prefixGarbage, l.now().UnixMicro(), key)})
	return true, nil
}
