package h2

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A Filter takes the peer's bytes for the reader out of a stream's DATA.
type Filter interface {
	// Next returns the next bytes for the reader in b, how much of b that was with
	// what stood before it, and whether the reader's direction ends there.
	Next(b []byte) (data []byte, used int, end bool)

	// Whole reports whether the stream may end where it is now.
	Whole() bool
}

// inbound is the reading half of a stream. Its mu guards it. The session's mu may be
// held when that is locked, but not the other way.
type inbound struct {
	mu       sync.Mutex
	readable sync.Cond
	readBy   alarm
	held     blocks
	want     []byte // of a Read that waits
	got      int    // bytes in it
	filter   Filter
	err      error // comes after what is held
	shut     bool  // Close was called

	window int // that the peer has left
	size   int // of the window
	taken  int // bytes read that were not given back to the window yet
	since  time.Time
	grown  int64 // of the budget
	down   meter
}

func (in *inbound) init() {
	in.readable.L = &in.mu
	in.window, in.size = initialWindow, initialWindow
}

// Read waits for bytes, and returns those that are there. It returns io.EOF at
// the peer's half-close.
func (st *Stream) Read(p []byte) (int, error) { return st.read(p, false) }

// ReadSteady is that of relay.Steady.
func (st *Stream) ReadSteady(p []byte) (int, error) { return st.read(p, true) }

func (st *Stream) read(p []byte, steady bool) (int, error) {
	in := &st.inbound
	in.mu.Lock()
	n, err := in.read(p, steady)
	credit := 0
	if n > 0 {
		credit = st.refund()
	}
	fast := n > 0 && in.down.add(n)
	in.mu.Unlock()
	if credit > 0 {
		st.s.credit(st, credit)
	}
	if fast {
		st.isBulk()
	}
	if err != nil && err != io.EOF {
		err = st.opError("read", err)
	}
	return n, err
}

// read is Read, or ReadSteady; mu is held.
func (in *inbound) read(p []byte, steady bool) (n int, err error) {
	mine := false // in.want is p
	for {
		if mine && in.got > 0 {
			n, in.got, in.want = in.got, 0, nil
			return n, nil
		}
		switch {
		case in.shut:
			err = net.ErrClosed
		case !steady && in.readBy.passed():
			err = os.ErrDeadlineExceeded
		case len(p) == 0 && (!steady || in.held.first != nil):
			return 0, nil
		case in.want != nil && !mine: // another Read is first
		case in.held.first != nil:
			n = in.held.take(p)
			in.taken += n
		case in.err != nil:
			err = in.err
		case len(p) > 0:
			in.want, mine = p, true
		}
		if n > 0 || err != nil {
			if mine {
				in.want = nil
			}
			return n, err
		}
		in.readable.Wait()
	}
}

// receive takes in a piece of DATA, and returns how much to give back to the window.
func (st *Stream) receive(p []byte) (credit int) {
	in := &st.inbound
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(p) > 0 && !in.shut && in.err == nil {
		data, used, end := p, len(p), false
		if in.filter != nil {
			data, used, end = in.filter.Next(p)
		}
		in.taken += used - len(data)
		p = p[used:]
		in.deliver(data)
		if end {
			in.stop(io.EOF)
		}
	}
	in.taken += len(p) // which nobody will read
	return st.refund()
}

// deliver hands data to the reader; mu is held.
func (in *inbound) deliver(data []byte) {
	if len(data) == 0 {
		return
	}
	if in.want != nil {
		n := copy(in.want[in.got:], data)
		in.got += n
		in.taken += n
		data = data[n:]
	}
	in.held.add(data)
	in.readable.Broadcast()
}

// refund decides how much to give back to the stream's window now, and whether it
// has to grow; mu is held. Where the window is the limit, it is given back in halves, once
// or twice in a round trip, as pieces happen to fall.
func (st *Stream) refund() int {
	in := &st.inbound
	if in.taken < in.size/2 {
		return 0
	}
	now := time.Now()
	rtt := time.Duration(st.s.rtt.Load())
	n := in.taken
	in.taken = 0
	if now.Sub(in.since) < rtt*3/2 && in.size < maxWindow && !in.shut && st.s.o.Budget.take(int64(in.size)) {
		n += in.size
		in.grown += int64(in.size)
		in.size *= 2
	}
	in.since = now
	in.window += n
	return n
}

// waste gives back n bytes of a frame that are no data, and returns the credit.
func (st *Stream) waste(n int) (credit int) {
	st.inbound.mu.Lock()
	defer st.inbound.mu.Unlock()
	st.taken += n
	return st.refund()
}

// filterBy sets the filter, before any data.
func (in *inbound) filterBy(f Filter) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.filter = f
}

// failure returns the error that the stream ended with.
func (in *inbound) failure() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}

// spend takes n bytes from the window, and reports whether that was allowed.
func (in *inbound) spend(n int) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.window -= n
	return in.window >= 0
}

// over reports whether the reader's direction has ended, and all was read.
func (in *inbound) over() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err == io.EOF && in.held.first == nil
}

// end makes err follow what is held.
func (in *inbound) end(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err == io.EOF && in.filter != nil && !in.filter.Whole() {
		err = io.ErrUnexpectedEOF
	}
	in.stop(err)
}

func (in *inbound) stop(err error) {
	if in.err == nil {
		in.err = err
		in.readable.Broadcast()
	}
}

// close makes Read fail, and lets go of what is held. It returns what had been taken
// of the budget.
func (in *inbound) close() (grown int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.shut = true
	in.held.drop()
	in.readBy.stop()
	in.readable.Broadcast()
	grown, in.grown = in.grown, 0
	return grown
}

func (in *inbound) setDeadline(t time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.shut {
		in.readBy.set(t, &in.readable)
	}
}
