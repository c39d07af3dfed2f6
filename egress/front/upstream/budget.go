package upstream

import "time"

// A budget bounds how many requests are sent once more: a share of all, and so many besides
// that a pool with little to do, or one that has lost a server under load, has enough.
type budget struct {
	share  float64
	tokens float64
	last   time.Time
}

const (
	budgetRate  = 10.0   // tokens a second
	budgetStart = 200.0  // and what there is at first
	budgetMost  = 1000.0 // what can be saved
)

func (b *budget) start(share float64) { b.share, b.tokens = share, budgetStart }

// request counts a request.
func (b *budget) request() { b.tokens = min(b.tokens+b.share, budgetMost) }

// again spends a token.
func (b *budget) again(now time.Time) bool {
	if !b.last.IsZero() {
		b.tokens = min(b.tokens+budgetRate*now.Sub(b.last).Seconds(), budgetMost)
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
