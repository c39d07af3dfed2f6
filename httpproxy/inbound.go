package httpproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/byway-proxy/byway/internal/deadline"
)

// Sizes of the buffers between an HTTP/2 stream and its reader. A stream that
// waits holds a small one; one that is filled earns a big one.
const (
	smallChunk = 1 << 10
	bigChunk   = 64 << 10
)

var (
	smallChunks = sync.Pool{New: func() any { return new([smallChunk]byte) }}
	bigChunks   = sync.Pool{New: func() any { return new([bigChunk]byte) }}
)

// A chunk is bytes read from a stream, and the pooled buffer that holds them.
type chunk struct {
	data  []byte
	err   error // comes after data
	small *[smallChunk]byte
	big   *[bigChunk]byte
}

func (c *chunk) free() {
	if c.small != nil {
		smallChunks.Put(c.small)
	} else if c.big != nil {
		bigChunks.Put(c.big)
	}
	*c = chunk{}
}

// inbound is the reading half of a stream at the server's end. The bodies of net/http know no
// deadlines that can be lifted, so that a reader who wants one needs a goroutine that reads ahead, by
// one chunk. It is there once somebody has read so.
type inbound struct {
	src io.Reader
	by  deadline.Deadline

	// interrupt has src end, after what has come, with os.ErrDeadlineExceeded. What comes later
	// has the stream reset: it is not called before somebody reads.
	interrupt func()
	waits     atomic.Bool // somebody reads src steadily

	chunks chan chunk
	done   chan struct{} // closed by close

	mu      sync.Mutex // held while reading
	pulling bool       // the goroutine is there
	cur     chunk
	off     int

	ending sync.Once
	end    chan struct{} // closed by endSoon
}

func newInbound(src io.Reader, interrupt func()) *inbound {
	return &inbound{src: src, interrupt: interrupt, chunks: make(chan chunk), done: make(chan struct{}), end: make(chan struct{})}
}

func (in *inbound) pull() {
	big := false
	for {
		var c chunk
		var buf []byte
		if big {
			c.big = bigChunks.Get().(*[bigChunk]byte)
			buf = c.big[:]
		} else {
			c.small = smallChunks.Get().(*[smallChunk]byte)
			buf = c.small[:]
		}
		n, err := in.src.Read(buf)
		c.data, c.err = buf[:n], err
		big = len(c.data) >= smallChunk/2
		last := c.err != nil
		select {
		case in.chunks <- c:
		case <-in.done:
			c.free()
			return
		}
		if last {
			return
		}
	}
}

// read is net.Conn's Read without the address on errors.
func (in *inbound) read(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.pulling {
		in.pulling = true
		go in.pull()
	}
	return in.take(p, in.by.Done, len(p) > 0)
}

// readSteady is that of relay.Steady.
func (in *inbound) readSteady(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.pulling {
		return in.take(p, func() <-chan struct{} { return nil }, true)
	}
	in.waits.Store(true)
	defer in.waits.Store(false)
	if isClosed(in.end) {
		in.interrupt()
	}
	n, err := in.src.Read(p) // one of nothing waits for something
	select {
	case <-in.done:
		return 0, net.ErrClosed
	default:
		return n, in.failure(err)
	}
}

// failure is the src's err for the reader.
func (in *inbound) failure(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && isClosed(in.end) {
		return io.EOF
	}
	return streamError(err)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// take takes from the chunks, if it may wait.
func (in *inbound) take(p []byte, by func() <-chan struct{}, wait bool) (int, error) {
	for {
		select {
		case <-in.done:
			return 0, net.ErrClosed
		case <-by():
			return 0, os.ErrDeadlineExceeded
		default:
		}
		if !wait {
			return 0, nil
		}
		if in.off < len(in.cur.data) {
			n := copy(p, in.cur.data[in.off:])
			if in.off += n; in.off == len(in.cur.data) && in.cur.err == nil {
				in.cur.free()
				in.off = 0
			}
			return n, nil
		}
		if in.cur.err != nil {
			return 0, in.cur.err
		}
		select {
		case in.cur = <-in.chunks:
			in.off = 0
			in.cur.err = in.failure(in.cur.err)
		case <-in.done:
		case <-by():
		case <-in.end:
			// What has come is delivered, but nothing is waited for.
			select {
			case in.cur = <-in.chunks:
				in.off = 0
				in.cur.err = in.failure(in.cur.err)
			default:
				return 0, io.EOF
			}
		}
	}
}

// endSoon makes read return EOF when nothing more is at hand.
func (in *inbound) endSoon() {
	in.ending.Do(func() { close(in.end) })
	if in.waits.Load() {
		in.interrupt()
	}
}

// close makes read fail. It is called once; whoever owns the source ends it.
func (in *inbound) close() { close(in.done) }

// streamError makes errors of net/http's streams speak errno: whatever ended one
// other than in good order cut the connection.
func streamError(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return fmt.Errorf("%w (HTTP/2: %v)", syscall.ECONNRESET, err) //nolint:errorlint // its errno is the one before
}

// opError is an error of a stream's Read or Write in the form of package net.
func opError(op string, local, remote net.Addr, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: local, Addr: remote, Err: err}
}
