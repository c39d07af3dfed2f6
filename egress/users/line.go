package users

import (
	"context"
	"sync"
	"time"
)

// A Line is the capacity of an egress in each direction, shared fairly by users: while bytes
// wait, each user with bytes that do has the same share, in however many tunnels, and what some
// leave over is the others'. It is start-time fair queueing (Goyal, Vin and Cheng, 1996) by
// user, behind a bucket of ten milliseconds.
//
// It can only be fair where the queue is, so its rate has to be a little below what the
// network carries.
type Line struct{ ways [2]way }

// lineBurst is for how long a line that has been idle may be ahead of its rate.
const lineBurst = 10 * time.Millisecond

// lineCredit is how many bytes a user may catch up on who was late for a turn: a single tunnel
// has its next bytes ready a moment after the last have gone.
const lineCredit = 256 << 10

// NewLine returns a line of bytes a second, in each direction. It must be positive.
func NewLine(rate int64) *Line {
	l := &Line{}
	for i := range l.ways {
		l.ways[i] = way{perSecond: float64(rate), queues: make(map[string]*queue)}
	}
	return l
}

// Wait returns when n bytes of a user's may move, or with ctx's error.
func (l *Line) Wait(ctx context.Context, user string, up bool, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &l.ways[1]
	if up {
		w = &l.ways[0]
	}
	t := &turn{size: float64(n), come: make(chan struct{})}
	w.join(user, t)
	select {
	case <-t.come:
		return nil
	case <-ctx.Done():
		w.leave(t)
		return ctx.Err()
	}
}

// way is one direction of a line.
type way struct {
	perSecond float64

	mu     sync.Mutex
	free   time.Time // until when the line is busy with what has had its turn
	now    float64   // the virtual time: the start of what had its turn last
	queues map[string]*queue
	armed  bool // a timer is under way
}

// queue is what of one user waits.
type queue struct {
	turns []*turn
	until float64 // virtual time at which what of the user had its turn is through
}

type turn struct {
	size float64
	come chan struct{}
	left bool
}

func (w *way) join(user string, t *turn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := w.queues[user]
	if q == nil {
		q = &queue{}
		w.queues[user] = q
	}
	q.turns = append(q.turns, t)
	if !w.armed {
		w.serve()
	}
}

func (w *way) leave(t *turn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.left = true
}

// serve lets all have their turn for whom the line is free, and comes again when it is for the
// next. w.mu is held.
func (w *way) serve() {
	w.armed = false
	for {
		now := time.Now()
		q := w.next()
		if q == nil {
			return
		}
		if early := now.Add(-lineBurst); w.free.Before(early) {
			w.free = early
		}
		if wait := w.free.Sub(now); wait > 0 {
			w.armed = true
			time.AfterFunc(wait, func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.serve()
			})
			return
		}
		t := q.turns[0]
		q.turns = q.turns[1:]
		start := w.start(q)
		w.now = max(w.now, start)
		q.until = start + t.size
		w.free = w.free.Add(time.Duration(t.size / w.perSecond * float64(time.Second)))
		close(t.come)
	}
}

// start is when, in virtual time, the next turn of q starts.
func (w *way) start(q *queue) float64 { return max(w.now-lineCredit, q.until) }

// next returns the queue whose first turn starts earliest in virtual time, or nil if none waits. Queues
// that are empty, and in no debt, are forgotten.
func (w *way) next() (first *queue) {
	var start float64
	for user, q := range w.queues {
		for len(q.turns) > 0 && q.turns[0].left {
			q.turns = q.turns[1:]
		}
		if len(q.turns) == 0 {
			if q.until <= w.now-lineCredit {
				delete(w.queues, user)
			}
			continue
		}
		if s := w.start(q); first == nil || s < start {
			first, start = q, s
		}
	}
	return first
}
