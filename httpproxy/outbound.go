package httpproxy

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/byway-proxy/byway/internal/deadline"
)

// outbound is the writing half of a client's stream: the request body that
// net/http reads. It buffers, so that a writer seldom waits for the transport,
// but holds memory only while bytes are on their way.
type outbound struct {
	by      deadline.Deadline
	writing sync.Mutex  // held while writing: each Write stays whole
	begun   atomic.Bool // the transport has read something

	mu       sync.Mutex
	ring     *[bigChunk]byte // nil while empty
	at, held int             // the bytes held begin at ring[at]
	ended    bool            // no more comes: EOF follows what is held
	broken   bool            // the transport reads no more

	readable chan struct{} // each of room for one token
	writable chan struct{}
	closed   chan struct{} // closed by close
}

func newOutbound() *outbound {
	return &outbound{readable: make(chan struct{}, 1), writable: make(chan struct{}, 1), closed: make(chan struct{})}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// write is net.Conn's Write without the address on errors.
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
func (o *outbound) put(p []byte) (n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
		return 0, syscall.EPIPE
	case o.broken:
		return 0, syscall.ECONNRESET
	case len(p) == 0:
		return 0, nil
	case o.ring == nil:
		o.ring = bigChunks.Get().(*[bigChunk]byte)
		o.at = 0
	}
	for n < len(p) && o.held < bigChunk {
		from := (o.at + o.held) % bigChunk
		to := bigChunk
		if from < o.at {
			to = o.at
		}
		k := copy(o.ring[from:to], p[n:])
		n += k
		o.held += k
	}
	if n > 0 {
		signal(o.readable)
	}
	return n, nil
}

// Read is for the transport.
func (o *outbound) Read(p []byte) (n int, err error) {
	for {
		o.mu.Lock()
		for n < len(p) && o.held > 0 {
			k := copy(p[n:], o.ring[o.at:min(o.at+o.held, bigChunk)])
			n += k
			o.at = (o.at + k) % bigChunk
			o.held -= k
		}
		if o.held == 0 {
			o.release()
		}
		if n > 0 {
			o.begun.Store(true)
		}
		ended, broken := o.ended && o.held == 0, o.broken
		o.mu.Unlock()
		switch {
		case n > 0 && ended:
			return n, io.EOF // saves a frame for END_STREAM
		case n > 0:
			signal(o.writable)
			return n, nil
		case broken:
			return 0, net.ErrClosed
		case ended:
			return 0, io.EOF
		}
		<-o.readable
	}
}

func (o *outbound) release() {
	if o.ring != nil {
		bigChunks.Put(o.ring)
		o.ring = nil
	}
}

// Close is for the transport, which calls it when it reads no more.
func (o *outbound) Close() error {
	o.mu.Lock()
	o.broken = true
	o.held = 0
	o.release()
	o.mu.Unlock()
	signal(o.readable)
	signal(o.writable)
	return nil
}

// end is the writer's: EOF follows what is held.
func (o *outbound) end() {
	o.mu.Lock()
	o.ended = true
	o.mu.Unlock()
	signal(o.readable)
}

// close makes write fail, and ends the body after what is held. It is called once.
func (o *outbound) close() {
	close(o.closed)
	o.end()
}

// abort makes write fail, and the body end in an error at once. It is called once,
// in place of close.
func (o *outbound) abort() {
	close(o.closed)
	_ = o.Close()
}
