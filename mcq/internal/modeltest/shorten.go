package modeltest

import (
	"context"
	"slices"
	"testing"
	"time"
)

// Run runs the sequence of that seed. If the engine does something else than the model,
// it returns what, and a short sequence of which the same can be said.
func (k Kind) Run(t *testing.T, seed uint64, n int, open func(t *testing.T, use func(Engine) error) error) (said []string, err error) {
	patience := 30 * time.Second
	try := func(list []Step) (said []string, err error) {
		err = open(t, func(e Engine) error {
			// Not the test's ctx: it belongs to no clock of synctest's.
			r := &run{kind: k, e: e, ctx: context.Background(), patience: patience, model: model{options: k.Options(), readers: make(map[string]*reader), cluster: k.Cluster}}
			err := r.steps(list)
			said = r.said
			return err
		})
		return said, err
	}
	list := randomSteps(seed, n)
	if said, err = try(list); err == nil {
		return nil, nil
	}
	t.Logf("seed %d fails: %v; looking for a shorter sequence", seed, err)
	patience = 2 * time.Second // what should happen at once, and does not, is to be seen often
	Shorten(list, func(list []Step) bool {
		if s, e := try(list); e != nil {
			said, err = s, e
			return true
		}
		return false
	})
	return said, err
}

// shortenFor is how long a shorter sequence is looked for.
const shortenFor = 20 * time.Second

// Shorten leaves out parts of a list for which fails is true as long as it stays so.
func Shorten[T any](list []T, fails func([]T) bool) []T {
	end := time.Now().Add(shortenFor)
	for size := len(list) / 2; size > 0; {
		before := len(list)
		for at := 0; at < len(list); {
			if time.Now().After(end) {
				return list
			}
			rest := slices.Concat(list[:at], list[min(at+size, len(list)):])
			if fails(rest) {
				list = rest
			} else {
				at += size
			}
		}
		if size > 1 || len(list) == before {
			size /= 2
		}
	}
	return list
}
