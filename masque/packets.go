package masque

import (
	"errors"
	"net"
	"os"
	"sync/atomic"

	"golang.org/x/net/ipv4"
)

// hopeless is how many failures to read in a row are no news of datagrams any more.
const hopeless = 8

// packetConn returns conn, which a dialer returned for "udp", as what a session of QUIC
// takes. A socket of the system keeps what makes it fast: batches, segmentation offload,
// ECN, and the bit that path MTU discovery needs.
func packetConn(conn net.Conn) net.PacketConn {
	if udp, ok := conn.(*net.UDPConn); ok {
		return &socket{UDPConn: udp, batches: ipv4.NewPacketConn(udp)}
	}
	return &flow{Conn: conn}
}

// news tells errors of a conn from those that are about a datagram, as ICMP brings them.
// The latter are believed while nothing has come from the peer: somebody in between
// can make them up, and a session that works must not end by them.
type news struct {
	heard    atomic.Bool
	failures atomic.Int32
}

// ends reports whether err, which a read returned, ends the session.
func (n *news) ends(err error) bool {
	switch {
	case err == nil:
		n.heard.Store(true)
		n.failures.Store(0)
		return false
	case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded), !n.heard.Load():
		return true
	}
	return n.failures.Add(1) > hopeless
}

// flow is any conn of datagrams.
type flow struct {
	net.Conn
	news news
}

func (f *flow) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, err := f.Read(p)
		if over := f.news.ends(err); over || err == nil {
			return n, f.RemoteAddr(), err
		}
	}
}

func (f *flow) WriteTo(p []byte, _ net.Addr) (int, error) { return f.Write(p) }

func (*flow) SetReadBuffer(int) error  { return nil }
func (*flow) SetWriteBuffer(int) error { return nil }

// quiet is a conn that has no buffers in the system. It keeps quic-go from telling so on
// the standard log.
type quiet struct{ net.PacketConn }

func (quiet) SetReadBuffer(int) error  { return nil }
func (quiet) SetWriteBuffer(int) error { return nil }

// socket is a connected socket of the system, which takes no address with a datagram.
type socket struct {
	*net.UDPConn
	batches *ipv4.PacketConn
	news    news
}

func (s *socket) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	for {
		n, err := s.batches.ReadBatch(ms, flags)
		if over := s.news.ends(err); over || err == nil {
			return n, err
		}
	}
}

func (s *socket) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.UDPConn.ReadFrom(p)
		if over := s.news.ends(err); over || err == nil {
			return n, from, err
		}
	}
}

func (s *socket) WriteTo(p []byte, _ net.Addr) (int, error) { return s.Write(p) }

func (s *socket) WriteMsgUDP(p, oob []byte, _ *net.UDPAddr) (n, oobn int, err error) {
	return s.UDPConn.WriteMsgUDP(p, oob, nil)
}
