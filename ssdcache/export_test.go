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

// How many Gets may wait in a pread, where the page cache tells what it has and
// where it does not, and how many others one of them reads for.
const (
	Leaders = leaders
	Readers = readers
	Share   = share
)

// ErrNotCached is what a File's ReadCached fails with.
var ErrNotCached = errNotCached
