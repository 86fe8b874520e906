package ssdcache

// File is what a cache does with its file.
type File = blockFile

// WithFile makes Open use what wrap makes of the file.
func (o Options) WithFile(wrap func(File) File) *Options {
	o.wrap = wrap
	return &o
}

// Evict takes key out of memory as its policy would.
func (t *Tiered[V]) Evict(key string) { t.memory.cache.Invalidate(key) }

// Readers is how many Gets may wait in a pread where the page cache does not tell
// what it has, and Share is how many others one of them reads for where it does.
const (
	Readers = readers
	Share   = share
)

// Leaders is how many Gets may wait in a pread.
func (c *Cache) Leaders() int { return c.reads.most }

// ErrNotCached is what a File's ReadCached fails with.
var ErrNotCached = errNotCached
