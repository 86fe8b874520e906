package feed

// keyGeneration is how many idempotency keys are remembered at least; twice as
// many are at most. At the rate of the New Year's minute, 13,472 posts a second,
// it is the last 39 seconds; a client that saw no answer retries within seconds.
const keyGeneration = 1 << 19

// recentKeys remembers the last idempotency keys and the status that each was
// first used for. It takes 53 MiB at most, and lets the collector leave as much
// again. A database could look each key up instead, but nearly every one is new,
// and not finding a random key in a large table costs more than all the rest of
// storing a status.
type recentKeys struct {
	recent, older map[[16]byte]int64
	generation    int
}

func newRecentKeys(generation int) *recentKeys {
	return &recentKeys{recent: map[[16]byte]int64{}, generation: generation}
}

// first returns the status that the key was first used for.
func (k *recentKeys) first(digest [16]byte) (id int64, known bool) {
	if id, known = k.recent[digest]; !known {
		id, known = k.older[digest]
	}
	return id, known
}

// add remembers a key, forgetting the oldest half when there are too many.
func (k *recentKeys) add(digest [16]byte, id int64) {
	if len(k.recent) >= k.generation {
		k.older, k.recent = k.recent, make(map[[16]byte]int64, k.generation)
	}
	k.recent[digest] = id
}
