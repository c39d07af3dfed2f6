package h2

import "sync/atomic"

// A Budget bounds, in bytes, by how much the windows of all streams that share it
// grow beyond their beginnings. A nil Budget lets none grow.
type Budget struct{ left atomic.Int64 }

// NewBudget returns a budget of n bytes.
func NewBudget(n int64) *Budget {
	b := new(Budget)
	b.left.Store(n)
	return b
}

// Left returns how much of the budget is not used.
func (b *Budget) Left() int64 { return b.left.Load() }

// take reports whether there were n left, which are the caller's then.
func (b *Budget) take(n int64) bool {
	if b == nil {
		return false
	}
	for {
		left := b.left.Load()
		if left < n {
			return false
		}
		if b.left.CompareAndSwap(left, left-n) {
			return true
		}
	}
}

func (b *Budget) give(n int64) {
	if b != nil {
		b.left.Add(n)
	}
}
