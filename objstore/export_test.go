package objstore

import "time"

// NewGeneratorClock is NewGenerator with a clock of the test's own.
func NewGeneratorClock(opts *GeneratorOptions, now func() time.Time) (*Generator, error) {
	return newGenerator(opts, now)
}
