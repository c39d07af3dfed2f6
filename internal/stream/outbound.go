package stream

import (
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/byway-proxy/byway/internal/deadline"
)

// outbound is the writing half: a goroutine sends one buffer while the next is
// being filled. It holds memory only while bytes are on their way.
type outbound struct {
	s      Stream
	by     deadline.Deadline
	closed <-chan struct{}

	writing sync.Mutex // held while writing: each Write stays whole
	start   sync.Once
	flushed chan struct{} // closed when nothing more is sent

	mu    sync.Mutex
	buf   *[]byte // being filled; nil while empty
	held  int     // bytes in buf
	ended bool    // no more comes: CloseWrite follows what is held
	err   error   // of the stream, or of abandon: nothing is sent any more

	readable, writable chan struct{} // each of room for one token
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// write is net.Conn's Write without the addresses on errors.
func (o *outbound) write(p []byte) (n int, err error) {
	o.writing.Lock()
	defer o.writing.Unlock()
	for {
		select {
		case <-o.closed:
			return n, net.ErrClosed
		case <-o.by.Done():
			return n, os.ErrDeadlineExceeded
		default:
		}
		k, err := o.put(p[n:])
		if n += k; err != nil || n == len(p) {
			return n, err
		}
		select {
		case <-o.writable:
		case <-o.closed:
		case <-o.by.Done():
		}
	}
}

// put buffers what there is room for.
func (o *outbound) put(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
		return 0, syscall.EPIPE
	case o.err != nil:
		return 0, o.err
	case len(p) == 0:
		return 0, nil
	case o.buf == nil:
		o.buf = bigChunks.Get().(*[]byte)
	}
	n := copy((*o.buf)[o.held:], p)
	if o.held += n; n > 0 {
		o.start.Do(func() { go o.push() })
		signal(o.readable)
	}
	return n, nil
}

// take returns what is to be sent, and whether it is the last.
func (o *outbound) take() (buf *[]byte, n int, last bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	buf, n, last = o.buf, o.held, o.ended || o.err != nil
	o.buf, o.held = nil, 0
	signal(o.writable)
	return buf, n, last
}

func (o *outbound) push() {
	defer close(o.flushed)
	for {
		buf, n, last := o.take()
		if buf != nil {
			_, err := o.s.Write((*buf)[:n])
			bigChunks.Put(buf)
			if err != nil {
				o.fail(err)
				return
			}
		}
		if last {
			o.mu.Lock()
			whole := o.err == nil
			o.mu.Unlock()
			if whole {
				_ = o.s.CloseWrite()
			}
			return
		}
		if buf == nil {
			<-o.readable
		}
	}
}

// end is the writer's: CloseWrite of the stream follows what is held.
func (o *outbound) end() {
	o.mu.Lock()
	o.ended = true
	o.mu.Unlock()
	o.start.Do(func() { go o.push() })
	signal(o.readable)
}

// abandon drops what is held, and makes push end once the stream lets it.
func (o *outbound) abandon() { o.fail(net.ErrClosed) }

func (o *outbound) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	if o.buf != nil {
		bigChunks.Put(o.buf)
		o.buf, o.held = nil, 0
	}
	signal(o.readable)
	signal(o.writable)
}
