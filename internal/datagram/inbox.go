// Package datagram holds what conns of one datagram per Read and Write share,
// where no socket of their own stands behind them.
package datagram

import (
	"net"
	"os"
	"sync"
	"time"

	"github.com/byway-proxy/byway/internal/deadline"
)

// Max is the longest datagram: what UDP over IPv4 carries.
const Max = 65507

// defaultLimit is how many bytes an [Inbox] holds if it does not say.
const defaultLimit = 256 << 10

// overhead is what each datagram counts for besides its bytes, so that many small
// ones have a limit too.
const overhead = 64

// An Inbox holds the datagrams that have arrived for a conn and are not read yet.
// What does not fit is dropped, as a socket's buffer does. Its zero value is ready;
// it is safe for concurrent use, and must not be copied.
type Inbox struct {
	Limit int // of bytes held; 0 means 256 KiB

	by deadline.Deadline

	mu    sync.Mutex
	wake  chan struct{} // has one when a reader has reason to look
	queue []letter
	held  int
	err   error // closed
}

type letter struct {
	data []byte
	from net.Addr
	err  error // in place of data
}

// Put adds a copy of b, which came from there (nil where only one can). It
// reports whether there was room.
func (i *Inbox) Put(b []byte, from net.Addr) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	limit := i.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	if i.err != nil || i.held+len(b)+overhead > limit {
		return false
	}
	i.held += len(b) + overhead
	i.add(letter{data: append([]byte(nil), b...), from: from})
	return true
}

// Fail makes one Read, in its turn, return err: the news of a datagram that was
// sent, as ICMP brings it.
func (i *Inbox) Fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if n := len(i.queue); i.err == nil && (n == 0 || i.queue[n-1].err == nil) {
		i.add(letter{err: err})
	}
}

// add appends l; mu is held.
func (i *Inbox) add(l letter) {
	i.queue = append(i.queue, l)
	i.signal()
}

// signal lets a reader look; mu is held.
func (i *Inbox) signal() {
	select {
	case i.waker() <- struct{}{}:
	default:
	}
}

func (i *Inbox) waker() chan struct{} {
	if i.wake == nil {
		i.wake = make(chan struct{}, 1)
	}
	return i.wake
}

// Close drops what is held, and makes every Read return err from now on, which
// must not be nil. Only the first Close counts; it reports whether this is it.
func (i *Inbox) Close(err error) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return false
	}
	i.err, i.queue, i.held = err, nil, 0
	i.signal()
	i.by.Set(time.Time{}) // its timer is needed no more
	return true
}

// Err returns what Close was given, or nil.
func (i *Inbox) Err() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}

// SetReadDeadline is that of net.Conn.
func (i *Inbox) SetReadDeadline(t time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err == nil {
		i.by.Set(t)
	}
	return nil
}

// ReadFrom waits for a datagram and copies it to p; what p has no room for is
// lost. It fails with os.ErrDeadlineExceeded after the deadline.
func (i *Inbox) ReadFrom(p []byte) (n int, from net.Addr, err error) {
	for {
		l, ok, wake := i.next()
		if ok {
			return copy(p, l.data), l.from, l.err
		}
		select {
		case <-wake:
		case <-i.by.Done():
		}
	}
}

// Await waits until ReadFrom has something to return, which its one caller is to take.
func (i *Inbox) Await() {
	for {
		wake := i.empty()
		if wake == nil {
			return
		}
		select {
		case <-wake:
		case <-i.by.Done():
		}
	}
}

// empty returns what to wait for, or nil if there is something to return.
func (i *Inbox) empty() <-chan struct{} {
	passed := i.by.Passed()
	i.mu.Lock()
	defer i.mu.Unlock()
	if passed || i.err != nil || len(i.queue) > 0 {
		return nil
	}
	return i.waker()
}

// next takes what a Read returns, if there is something.
func (i *Inbox) next() (l letter, ok bool, wake <-chan struct{}) {
	passed := i.by.Passed()
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.err != nil:
		i.signal() // for the next reader
		return letter{err: i.err}, true, nil
	case passed:
		return letter{err: os.ErrDeadlineExceeded}, true, nil
	case len(i.queue) == 0:
		return letter{}, false, i.waker()
	}
	l = i.queue[0]
	i.queue[0] = letter{}
	i.queue = i.queue[1:]
	if l.err == nil {
		i.held -= len(l.data) + overhead
	}
	if len(i.queue) > 0 {
		i.signal()
	}
	return l, true, nil
}
