package h2

import "sync"

// Bytes that wait for their reader are held in blocks of two sizes.
const (
	smallBlock = 2 << 10
	bigBlock   = 32 << 10
)

var (
	smallBlocks = sync.Pool{New: func() any { return &block{buf: make([]byte, smallBlock)} }}
	bigBlocks   = sync.Pool{New: func() any { return &block{buf: make([]byte, bigBlock)} }}
)

// blocks is a queue of bytes, which holds no memory while empty.
type blocks struct{ first, last *block }

type block struct {
	buf      []byte
	from, to int // what of buf is held
	next     *block
}

// add copies p to the end.
func (q *blocks) add(p []byte) {
	for len(p) > 0 {
		if q.last == nil || q.last.to == len(q.last.buf) {
			q.grow(len(p))
		}
		b := q.last
		n := copy(b.buf[b.to:], p)
		b.to += n
		p = p[n:]
	}
}

// grow adds a block. Those behind others are big, as there is a backlog.
func (q *blocks) grow(n int) {
	pool := &bigBlocks
	if q.last == nil && n <= smallBlock {
		pool = &smallBlocks
	}
	b := pool.Get().(*block)
	if q.last == nil {
		q.first = b
	} else {
		q.last.next = b
	}
	q.last = b
}

// take moves bytes from the beginning to p.
func (q *blocks) take(p []byte) (n int) {
	for n < len(p) && q.first != nil {
		b := q.first
		k := copy(p[n:], b.buf[b.from:b.to])
		n += k
		if b.from += k; b.from == b.to {
			q.pop()
		}
	}
	return n
}

// pop lets go of the first block.
func (q *blocks) pop() {
	b := q.first
	if q.first = b.next; q.first == nil {
		q.last = nil
	}
	b.from, b.to, b.next = 0, 0, nil
	if len(b.buf) == bigBlock {
		bigBlocks.Put(b)
	} else {
		smallBlocks.Put(b)
	}
}

// drop lets go of all.
func (q *blocks) drop() {
	for q.first != nil {
		q.pop()
	}
}
