package s3content

// SetMaxParts makes contents end at a size that a test can reach.
func (b *Bucket) SetMaxParts(n int) { b.maxParts = n }
