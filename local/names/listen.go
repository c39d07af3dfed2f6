package names

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/internal/sockets"
)

const (
	clientIdle   = 10 * time.Second // of a client's conn, without a question
	mostConns    = 128              // of clients at a time
	perConn      = 32               // questions of a conn that wait for an upstream
	largestQuery = 4096
)

// ServePacket answers what comes to p, until that is closed.
func (s *Server) ServePacket(p sockets.Datagrams) {
	buf := make([]byte, largestQuery)
	for pause := time.Duration(0); ; {
		n, from, err := sockets.Receive(p, buf)
		switch {
		case err == nil:
			pause = 0
			s.answer(buf[:n], net.UDPAddrFromAddrPort(from.Addr), true, func(b []byte) { _, _ = from.Answer(p, b) }, func() {})
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EMSGSIZE):
			// News of a client that has gone, or (Windows) one that says too much.
		default:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
		}
	}
}

// Serve answers those who connect to l, until that is closed.
func (s *Server) Serve(l net.Listener) {
	places := make(chan struct{}, mostConns)
	for pause := time.Duration(0); ; {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
			continue
		}
		pause = 0
		select {
		case places <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		s.wg.Go(func() {
			defer func() { <-places }()
			s.serveConn(c)
		})
	}
}

// serveConn answers the questions on c, each as soon as it can be (RFC 7766 §6.2.1.1),
// until the client has no more or is silent for too long.
func (s *Server) serveConn(c net.Conn) {
	out := &writer{conn: c}
	waiting := make(chan struct{}, perConn)
	defer context.AfterFunc(s.ctx, func() { _ = c.Close() })()
	for {
		_ = c.SetReadDeadline(time.Now().Add(clientIdle))
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			break
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			break
		}
		waiting <- struct{}{}
		s.answer(b, c.RemoteAddr(), false, out.write, func() { <-waiting })
	}
	for range perConn { // those that are under way are answered
		waiting <- struct{}{}
	}
	_ = c.Close()
}

// A writer writes messages to a conn.
type writer struct {
	mu   sync.Mutex
	conn net.Conn
}

func (w *writer) write(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.conn.SetWriteDeadline(time.Now().Add(clientIdle))
	packet := append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) //nolint:gosec // no message is longer
	if _, err := w.conn.Write(packet); err != nil {
		_ = w.conn.Close()
	}
}
