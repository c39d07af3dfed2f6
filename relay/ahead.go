package relay

import (
	"context"
	"net"
	"os"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/deadline"
)

// DialAhead is [Relay.Dial] for those who have their request in hand: it returns at
// once, and what is written while the dial goes on may travel along with the
// request for the tunnel ([chain.FirstData]). What the dial comes to, Read and Write
// tell: their errors wrap its error. ctx gives values alone; Close ends the dial.
func (r *Relay) DialAhead(ctx context.Context, q Request, d Decision) (net.Conn, error) {
	t, err := r.begin(q, d)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a := &dialing{near: near, cancel: cancel, done: make(chan struct{}), closed: make(chan struct{}), to: pendingAddr(q.Addr)}
	go a.dial(ctx, t, far)
	return a, nil
}

// dialing is a conn whose dial may be under way.
type dialing struct {
	near    net.Conn // of a pipe, whose other end hops read as the client
	cancel  context.CancelFunc
	to      net.Addr
	writing sync.Mutex // held while writing: each Write stays whole

	readBy, writeBy deadline.Deadline // until the dial has ended
	closed          chan struct{}
	once            sync.Once

	mu      sync.Mutex
	by      [2]time.Time  // deadlines, to be handed on
	aborted bool          // by Abort, before the dial ended
	done    chan struct{} // closed when the dial has ended; then:
	conn    net.Conn
	err     error
}

// dial opens the tunnel, and sends what was written and did not go along.
func (a *dialing) dial(ctx context.Context, t *tunnel, far net.Conn) {
	defer a.cancel()
	first := chain.NewFirstData(far, nil)
	first.AsKnown = true // a trip is not worth traffic that nobody asked for
	conn, rest, err := t.dial(ctx, first)
	_ = far.Close() // a Write that waits goes on with conn
	var over *dialed
	if err == nil {
		over = &dialed{Conn: conn, t: t}
		over.up.Store(t.up)
		_ = conn.SetWriteDeadline(time.Now().Add(t.relay.idleLimit()))
		_, _ = over.Write(rest) // if that fails, who reads finds out
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.closed:
		if over != nil && a.aborted {
			_ = over.Abort()
		} else if over != nil {
			_ = over.Close()
		}
		a.err = net.ErrClosed
	default:
		if a.err = err; err == nil {
			a.conn = over
			_ = conn.SetReadDeadline(a.by[0])
			_ = conn.SetWriteDeadline(a.by[1])
		}
	}
	close(a.done)
}

// wait returns the conn when the dial has ended.
func (a *dialing) wait(op string, by *deadline.Deadline) (net.Conn, error) {
	select {
	case <-a.done:
	default:
		select {
		case <-a.done:
		case <-a.closed:
			return nil, a.opError(op, net.ErrClosed)
		case <-by.Done():
			return nil, a.opError(op, os.ErrDeadlineExceeded)
		}
	}
	if a.err != nil {
		return nil, a.opError(op, a.err)
	}
	return a.conn, nil
}

func (a *dialing) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: a.to, Err: err}
}

func (a *dialing) Read(p []byte) (int, error) {
	conn, err := a.wait("read", &a.readBy)
	if err != nil {
		return 0, err
	}
	return conn.Read(p)
}

// Write hands p to a hop that takes first data, and what it does not take to the
// conn, once there is one.
func (a *dialing) Write(p []byte) (n int, err error) {
	a.writing.Lock()
	defer a.writing.Unlock()
	select {
	case <-a.done:
	default:
		if len(p) > 0 {
			n, _ = a.near.Write(p)
		}
		if n == len(p) {
			return n, nil
		}
	}
	conn, err := a.wait("write", &a.writeBy)
	if err != nil {
		return n, err
	}
	k, err := conn.Write(p[n:])
	return n + k, err
}

func (a *dialing) CloseWrite() error {
	a.writing.Lock()
	defer a.writing.Unlock()
	conn, err := a.wait("close", &a.writeBy)
	if err != nil {
		return err
	}
	return chain.CloseWrite(conn)
}

func (a *dialing) Close() error { return a.end(false, net.Conn.Close) }

func (a *dialing) Abort() error { return a.end(true, chain.Abort) }

func (a *dialing) end(abort bool, end func(net.Conn) error) error {
	a.mu.Lock()
	first := false
	a.once.Do(func() {
		first, a.aborted = true, abort
		close(a.closed)
	})
	conn := a.conn
	a.mu.Unlock()
	a.cancel()
	_ = a.near.Close()
	switch {
	case conn != nil:
		return end(conn)
	case !first:
		return a.opError("close", net.ErrClosed)
	}
	return nil
}

func (a *dialing) LocalAddr() net.Addr {
	select {
	case <-a.done:
		if a.conn != nil {
			return a.conn.LocalAddr()
		}
	default:
	}
	return pendingAddr("")
}

func (a *dialing) RemoteAddr() net.Addr {
	select {
	case <-a.done:
		if a.conn != nil {
			return a.conn.RemoteAddr()
		}
	default:
	}
	return a.to
}

func (a *dialing) SetDeadline(t time.Time) error {
	if err := a.SetReadDeadline(t); err != nil {
		return err
	}
	return a.SetWriteDeadline(t)
}

func (a *dialing) SetReadDeadline(t time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		return a.conn.SetReadDeadline(t)
	}
	a.by[0] = t
	a.readBy.Set(t)
	return nil
}

func (a *dialing) SetWriteDeadline(t time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		return a.conn.SetWriteDeadline(t)
	}
	a.by[1] = t
	a.writeBy.Set(t)
	return a.near.SetWriteDeadline(t)
}

// pendingAddr is an address that is not known before the dial has ended.
type pendingAddr string

func (pendingAddr) Network() string  { return "tcp" }
func (p pendingAddr) String() string { return string(p) }
