package motan

import "sync/atomic"

// budget bounds how many tries may be further ones.
type budget struct {
	share int64 // thousandths that each call adds; negative: no bound
	left  atomic.Int64
}

// budgetReserve is the most tries that can be saved up, and what there is at first.
const budgetReserve = 1000

func (b *budget) init(share float64) {
	b.share = int64(share * 1000)
	b.left.Store(budgetReserve * 1000)
}

// call adds what a call allows.
func (b *budget) call() {
	if b.share > 0 && b.left.Load() < budgetReserve*1000 {
		b.left.Add(b.share)
	}
}

// take asks for one further try.
func (b *budget) take() bool {
	if b.share < 0 {
		return true
	}
	if b.left.Add(-1000) >= 0 {
		return true
	}
	b.left.Add(1000)
	return false
}
