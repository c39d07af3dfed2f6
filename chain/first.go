package chain

import (
	"context"
	"errors"
	"net"
	"reflect"
	"slices"
	"sync"
	"time"
)

// maxFirst is how much first data is held, in bytes: a ClientHello and more.
const maxFirst = 16 << 10

// FirstData is what a client says before it has had an answer from its target: first
// data, which the last hop of a chain may send along behind its request, and so
// save a trip over the whole path. A hop may as well know nothing of it: what was
// not sent along goes by the conn that it returns.
//
// No byte may reach a target twice, nor get lost. So one attempt to open the tunnel
// has the data at a time; and once data was sent, another attempt can succeed only
// if the hop of the first is known to have passed nothing on.
type FirstData struct {
	// AsKnown has it go along only by hops of which it is known already that they pass
	// it on: it is not worth finding out. It is set before the first dial, if at all.
	AsKnown bool

	client net.Conn // read from while an attempt has the data; may be nil

	mu    sync.Mutex
	data  []byte   // what the client has said
	sent  int      // how much of it may be on its way
	on    net.Conn // by which conn, once that is accepted
	use   *use     // of the attempt that has the data, or nil
	spent bool     // it was sent, and may have been passed on, in vain
	over  bool     // settled
}

// A use is guarded by the mutex of FirstData.
type use struct {
	stopped bool
	ended   bool
	done    chan struct{} // closed when it has ended
}

// NewFirstData returns the first data of a client that has said ahead already. If
// client is not nil, more is read from it while a hop waits for its answer; until
// Settle nobody else may read from it, or use its read deadline, which is left unset.
func NewFirstData(client net.Conn, ahead []byte) *FirstData {
	return &FirstData{client: client, data: slices.Clip(ahead)}
}

type firstKey struct{}

// WithFirstData returns a ctx whose dials may send f along. It is for the last hop
// alone: a chain takes it out of the ctx of dials that lead to its hops. A nil f
// takes out what ctx has.
func WithFirstData(ctx context.Context, f *FirstData) context.Context {
	return context.WithValue(ctx, firstKey{}, f)
}

// FirstDataOf returns the first data that a dial with ctx may send along, or nil.
func FirstDataOf(ctx context.Context) *FirstData {
	f, _ := ctx.Value(firstKey{}).(*FirstData)
	return f
}

// withoutFirstData is for dials that lead to a hop, or prepare a tunnel.
func withoutFirstData(ctx context.Context) context.Context {
	if FirstDataOf(ctx) == nil {
		return ctx
	}
	return WithFirstData(ctx, nil)
}

// Along is for a hop that has written its request for a tunnel to conn, which is
// what it will return, but for an [Unread] or a wrapper with a NetConn around it.
// It runs await, which waits for the answer, and meanwhile writes the data to conn
// as soon as there is some. Nothing waits for the client. A nil FirstData just awaits.
//
// The error is that of await. With an error, acted tells whether the hop may have
// passed on anything, for all that is known. If not, the data is free to go by
// another attempt.
func (f *FirstData) Along(conn net.Conn, await func() (acted bool, err error)) error {
	u := f.begin()
	if u == nil {
		_, err := await()
		return err
	}
	go f.send(u, conn)
	acted, failed := true, true // until await has said otherwise: it may panic
	defer func() {
		f.stop(u)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.use = nil
		switch {
		case f.sent == 0:
		case !failed:
			f.on = conn
		case acted:
			f.spent = true
		default:
			f.sent = 0
		}
	}()
	acted, err := await()
	failed = err != nil
	return err
}

// Spent reports whether data was sent along in vain, so that no other attempt can
// succeed any more.
func (f *FirstData) Spent() bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.spent
}

// errSpent is the error of a conn that came too late for the data.
var errSpent = errors.New("first data went by an attempt that was given up")

// Settle is for whoever called NewFirstData, when the dial has returned conn. From then on
// no hop sends or reads any more. It returns how many bytes went by conn, and those
// that are still to be written to it. An error means that bytes may have gone to the
// target by another conn: this one must not be used.
func (f *FirstData) Settle(conn net.Conn) (sent int, rest []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	if f.spent || f.sent > 0 && (f.on == nil || !within(conn, f.on)) {
		return 0, nil, errSpent
	}
	if u := f.use; u != nil { // it has sent nothing yet
		f.interrupt(u)
		f.mu.Unlock()
		<-u.done
		f.mu.Lock()
	}
	return f.sent, f.data[f.sent:], nil
}

// within reports whether c is raw, or a wrapper around it.
func within(c, raw net.Conn) bool {
	if !reflect.TypeOf(raw).Comparable() {
		return false
	}
	for c != raw {
		u, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return false
		}
		c = u.NetConn()
	}
	return true
}

// begin returns a use, or nil where there is nothing to send for the caller.
func (f *FirstData) begin() *use {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over || f.spent || f.on != nil || f.use != nil || f.client == nil && len(f.data) == 0 {
		return nil
	}
	f.use = &use{done: make(chan struct{})}
	return f.use
}

// stop ends u.
func (f *FirstData) stop(u *use) {
	f.mu.Lock()
	f.interrupt(u)
	f.mu.Unlock()
	<-u.done
}

// interrupt has u send and read nothing more; mu is held.
func (f *FirstData) interrupt(u *use) {
	if !u.stopped && !u.ended && f.client != nil {
		_ = f.client.SetReadDeadline(time.Unix(1, 0))
	}
	u.stopped = true
}

// send writes to conn what the client has said and says, up to [maxFirst].
func (f *FirstData) send(u *use, conn net.Conn) {
	defer func() {
		f.mu.Lock()
		u.ended = true
		if u.stopped && f.client != nil {
			_ = f.client.SetReadDeadline(time.Time{})
		}
		f.mu.Unlock()
		close(u.done)
	}()
	for {
		piece, ok := f.next(u)
		if !ok {
			return
		}
		n, err := conn.Write(piece)
		if err != nil {
			f.mu.Lock()
			f.sent -= len(piece) - n
			f.mu.Unlock()
			return
		}
	}
}

// next returns what is to be sent next, which counts as sent, and waits for the
// client if need be.
func (f *FirstData) next(u *use) (piece []byte, ok bool) {
	for {
		f.mu.Lock()
		if u.stopped {
			f.mu.Unlock()
			return nil, false
		}
		if piece = f.data[f.sent:]; len(piece) > 0 {
			f.sent = len(f.data)
			f.mu.Unlock()
			return piece, true
		}
		f.data = slices.Grow(f.data, max(0, min(2<<10, maxFirst-len(f.data))))
		room := f.data[len(f.data):max(len(f.data), min(cap(f.data), maxFirst))]
		f.mu.Unlock()
		if f.client == nil || len(room) == 0 {
			return nil, false
		}
		n, err := f.client.Read(room)
		f.mu.Lock()
		f.data = f.data[:len(f.data)+n]
		f.mu.Unlock()
		if n == 0 && err != nil {
			return nil, false // who reads next finds out
		}
	}
}
