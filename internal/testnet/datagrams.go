package testnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/internal/datagram"
	"github.com/byway-proxy/byway/internal/deadline"
)

// A Socket sends and receives datagrams on a [Network]. It is a net.PacketConn;
// one of [Host.DialContext] is connected, and used as a net.Conn. A datagram takes
// the delay of its link; none is lost save for a lack of room. To a port that nobody
// has, a connected Socket is told so by its next Read, as by ICMP.
type Socket struct {
	h         *Host
	near, far Addr // far is "" if not connected
	in        datagram.Inbox
	writtenBy deadline.Deadline
}

var (
	_ net.PacketConn = (*Socket)(nil)
	_ net.Conn       = (*Socket)(nil)
)

// ListenPacket opens ":port" of the host for datagrams; port 0 takes any.
func (h *Host) ListenPacket(port string) (*Socket, error) { return h.socket(port, "") }

func (h *Host) socket(port string, far Addr) (*Socket, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if port == ":0" {
		h.n.nextPort++
		port = ":" + strconv.Itoa(h.n.nextPort)
	}
	s := &Socket{h: h, near: Addr(net.JoinHostPort(h.name, port[1:])), far: far}
	if h.n.sockets[s.near] != nil {
		return nil, opError("listen", string(s.near), syscall.EADDRINUSE)
	}
	if h.n.sockets == nil {
		h.n.sockets = make(map[Addr]*Socket)
	}
	h.n.sockets[s.near] = s
	return s, nil
}

func (h *Host) dialUDP(ctx context.Context, addr string) (net.Conn, error) {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, err
	}
	h.n.mu.Lock()
	h.n.dials = append(h.n.dials, Dial{h.name, "udp " + addr})
	h.n.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, opError("dial", addr, err)
	}
	s, err := h.socket(":0", Addr(addr))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Carries reports that a host carries datagrams too.
func (h *Host) Carries(network string) bool { return network == "tcp" || network == "udp" }

// DatagramPipe returns two ends that send each other datagrams.
func DatagramPipe(delay time.Duration) (a, b net.Conn) {
	n := New()
	n.SetDelay("192.0.2.1", "192.0.2.2", delay)
	x, _ := n.Host("192.0.2.1").socket(":1", "192.0.2.2:2")
	y, _ := n.Host("192.0.2.2").socket(":2", "192.0.2.1:1")
	return x, y
}

func (s *Socket) send(p []byte, to Addr) (int, error) {
	switch {
	case s.in.Err() != nil:
		return 0, opError("write", string(to), net.ErrClosed)
	case s.writtenBy.Passed():
		return 0, opError("write", string(to), os.ErrDeadlineExceeded)
	case len(p) > datagram.Max:
		return 0, opError("write", string(to), syscall.EMSGSIZE)
	}
	host, _, err := net.SplitHostPort(string(to))
	if err != nil {
		return 0, err
	}
	n := s.h.n
	n.mu.Lock()
	delay := n.delays[[2]string{s.h.name, host}]
	n.mu.Unlock()
	if delay == 0 {
		s.arrive(p, to)
		return len(p), nil
	}
	data := append([]byte(nil), p...)
	time.AfterFunc(delay, func() { s.arrive(data, to) })
	return len(p), nil
}

// arrive puts p into the inbox of to, if there is one and it takes datagrams of s.
func (s *Socket) arrive(p []byte, to Addr) {
	n := s.h.n
	n.mu.Lock()
	dst := n.sockets[to]
	n.mu.Unlock()
	switch {
	case dst != nil && (dst.far == "" || dst.far == s.near):
		dst.in.Put(p, s.near)
	case s.far != "":
		s.in.Fail(opError("read", string(to), syscall.ECONNREFUSED))
	}
}

func (s *Socket) Read(p []byte) (int, error) {
	n, _, err := s.ReadFrom(p)
	return n, err
}

// AwaitRead waits until Read has something to return: see relay.CopyDatagrams.
func (s *Socket) AwaitRead() { s.in.Await() }

// ReadFrom returns one datagram, and cuts what p is too short for.
func (s *Socket) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := s.in.ReadFrom(p)
	if _, ok := err.(*net.OpError); err != nil && !ok {
		err = opError("read", string(s.near), err)
	}
	return n, from, err
}

// ReadFromUDPAddrPort is ReadFrom for hosts that are called by an address.
func (s *Socket) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	n, from, err := s.ReadFrom(p)
	if err != nil {
		return n, netip.AddrPort{}, err
	}
	addr, err := netip.ParseAddrPort(from.String())
	return n, addr, err
}

func (s *Socket) Write(p []byte) (int, error) {
	if s.far == "" {
		return 0, opError("write", "", errors.New("not connected"))
	}
	return s.send(p, s.far)
}

// WriteTo sends p as one datagram.
func (s *Socket) WriteTo(p []byte, to net.Addr) (int, error) { return s.send(p, Addr(to.String())) }

// WriteToUDPAddrPort is WriteTo for hosts that are called by an address.
func (s *Socket) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	return s.send(p, Addr(to.String()))
}

// Close gives the port back.
func (s *Socket) Close() error {
	if !s.in.Close(net.ErrClosed) {
		return opError("close", string(s.near), net.ErrClosed)
	}
	s.writtenBy.Set(time.Time{})
	n := s.h.n
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sockets, s.near)
	return nil
}

// LocalAddr returns the address of s.
func (s *Socket) LocalAddr() net.Addr { return s.near }

// RemoteAddr returns the address that s is connected to.
func (s *Socket) RemoteAddr() net.Addr { return s.far }

// SetDeadline is that of net.Conn.
func (s *Socket) SetDeadline(t time.Time) error {
	_ = s.SetWriteDeadline(t)
	return s.SetReadDeadline(t)
}

// SetReadDeadline is that of net.Conn.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.in.SetReadDeadline(t) }

// SetWriteDeadline is that of net.Conn; a Write never waits.
func (s *Socket) SetWriteDeadline(t time.Time) error {
	s.writtenBy.Set(t)
	return nil
}
