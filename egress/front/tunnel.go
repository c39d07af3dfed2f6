package front

import (
	"io"
	"net"
	"sync"
)

// A tunnel is what an upgrade has made of a connection and a server's.
type tunnel struct {
	client net.Conn
	ahead  io.Reader // the client's bytes, those read ahead first
	server io.ReadWriteCloser
}

// tunnels are those that live, since their connections are out of the HTTP server's hands.
type tunnels struct {
	mu     sync.Mutex
	live   map[*tunnel]bool
	closed bool
}

// carry copies in both directions until each has ended, the end of one being passed on, and
// closes both ends.
func (ts *tunnels) carry(t *tunnel) {
	defer t.close()
	ts.mu.Lock()
	if ts.closed {
		ts.mu.Unlock()
		return
	}
	if ts.live == nil {
		ts.live = make(map[*tunnel]bool)
	}
	ts.live[t] = true
	ts.mu.Unlock()
	defer func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		delete(ts.live, t)
	}()
	up := make(chan struct{})
	go func() {
		defer close(up)
		t.half(t.server, t.ahead)
	}()
	t.half(t.client, t.server)
	<-up
}

// half copies one direction. A failure ends both.
func (t *tunnel) half(to io.Writer, from io.Reader) {
	_, err := io.Copy(to, from)
	cw, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || cw.CloseWrite() != nil {
		t.close()
	}
}

func (t *tunnel) close() {
	_ = t.client.Close()
	_ = t.server.Close()
}

func (ts *tunnels) close() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.closed = true
	for t := range ts.live {
		t.close()
	}
}
