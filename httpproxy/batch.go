package httpproxy

import (
	"net"
	"sync"

	"github.com/byway-proxy/byway/chain"
)

// batches hold what goes to the system at a time: four records of TLS, with what it adds. Only
// what is under way has one.
var batches = sync.Pool{New: func() any { return new([72 << 10]byte) }}

// batched is the conn below a TLS conn, which writes each record by itself: what is
// held goes in one piece. Otherwise it is the conn that it is made of.
type batched struct {
	net.Conn
	lease chain.Lease // what groups before the proxy count the conn by, as long as it is open

	mu   sync.Mutex
	hold bool
	held []byte // while hold is set
}

// NetConn returns the conn that it is made of.
func (b *batched) NetConn() net.Conn { return b.Conn }

func (b *batched) Close() error {
	defer b.lease.Release()
	return b.Conn.Close()
}

// Abort is of chain.Aborter.
func (b *batched) Abort() error {
	defer b.lease.Release()
	return chain.Abort(b.Conn)
}

func (b *batched) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.hold {
		return b.Conn.Write(p)
	}
	if len(b.held) > 0 && len(b.held)+len(p) > cap(b.held) {
		if _, err := b.Conn.Write(b.held); err != nil {
			return 0, err
		}
		b.held = b.held[:0]
	}
	b.held = append(b.held, p...)
	return len(p), nil
}

// batch holds what write writes, and then sends it.
func (b *batched) batch(write func() (int, error)) (int, error) {
	buf := batches.Get().(*[72 << 10]byte)
	defer batches.Put(buf)
	b.mu.Lock()
	b.hold, b.held = true, buf[:0]
	b.mu.Unlock()
	n, err := write()
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.held
	b.hold, b.held = false, nil
	if len(held) > 0 {
		if _, e := b.Conn.Write(held); err == nil {
			err = e
		}
	}
	return n, err
}

// sessionConn is a TLS conn over a batched one: what is written at a time leaves at a time.
type sessionConn struct {
	net.Conn
	below *batched
}

func (c *sessionConn) Write(p []byte) (int, error) {
	return c.below.batch(func() (int, error) { return c.Conn.Write(p) })
}

// NetConn returns the conn below TLS.
func (c *sessionConn) NetConn() net.Conn { return c.below.Conn }
