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
