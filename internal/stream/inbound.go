package stream

import (
	"net"
	"os"
	"sync"

	"github.com/byway-proxy/byway/internal/deadline"
)

// Sizes of the buffers between a stream and its reader. A stream that waits holds
// a small one; one that is filled earns a big one.
const (
	smallChunk = 1 << 10
	bigChunk   = 32 << 10
)

var (
	smallChunks = sync.Pool{New: func() any { b := make([]byte, smallChunk); return &b }}
	bigChunks   = sync.Pool{New: func() any { b := make([]byte, bigChunk); return &b }}
)

// A chunk is bytes read from a stream, and the pooled buffer that holds them.
type chunk struct {
	data []byte
	err  error // comes after data
	buf  *[]byte
	pool *sync.Pool
}

func (c *chunk) free() {
	if c.pool != nil {
		c.pool.Put(c.buf)
	}
	*c = chunk{}
}

// inbound is the reading half: a goroutine reads ahead, by one chunk.
type inbound struct {
	s      Stream
	by     deadline.Deadline
	closed <-chan struct{}

	start  sync.Once
	chunks chan chunk

	mu  sync.Mutex // held while reading
	cur chunk
	off int
}

func (in *inbound) pull() {
	pool := &smallChunks
	for {
		c := chunk{buf: pool.Get().(*[]byte), pool: pool}
		n, err := in.s.Read(*c.buf)
		c.data, c.err = (*c.buf)[:n], err
		select {
		case in.chunks <- c:
		case <-in.closed:
			c.free()
			return
		}
		if err != nil {
			return
		}
		if pool = &smallChunks; n >= smallChunk/2 {
			pool = &bigChunks
		}
	}
}

// read is net.Conn's Read without the addresses on errors.
func (in *inbound) read(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		select {
		case <-in.closed:
			return 0, net.ErrClosed
		case <-in.by.Done():
			return 0, os.ErrDeadlineExceeded
		default:
		}
		if len(p) == 0 {
			return 0, nil
		}
		if in.off < len(in.cur.data) {
			n := copy(p, in.cur.data[in.off:])
			if in.off += n; in.off == len(in.cur.data) {
				in.spent()
			}
			return n, nil
		}
		if in.cur.err != nil {
			return 0, in.cur.err
		}
		in.start.Do(func() { go in.pull() })
		select {
		case in.cur = <-in.chunks:
			in.off = 0
			if len(in.cur.data) == 0 {
				in.spent()
			}
		case <-in.closed:
		case <-in.by.Done():
		}
	}
}

// spent gives the buffer back, and keeps the error.
func (in *inbound) spent() {
	err := in.cur.err
	in.cur.free()
	in.cur.err, in.off = err, 0
}
