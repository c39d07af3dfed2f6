package socks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// A PacketSocket takes and sends the datagrams of an association. *net.UDPConn is one.
type PacketSocket interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error)
	LocalAddr() net.Addr
	Close() error
}

// listenPacket opens a socket at a free port of host, an address of this machine.
func (s *Server) listenPacket(ctx context.Context, host string) (PacketSocket, error) {
	if s.ListenPacket != nil {
		return s.ListenPacket(ctx, host)
	}
	c, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UDPConn)
	if !ok {
		_ = c.Close()
		return nil, errNoSocket
	}
	return u, nil
}

var errAssociations = fmt.Errorf("socks: too many UDP associations at once: %w", syscall.EMFILE)

var (
	errNoSocket = unsupportedError("socks: no UDP socket where the client came to")
	errNoRoute  = unsupportedError("socks: no route carries UDP")
)

// An association is what UDP ASSOCIATE makes (RFC 1928 §7): a socket for one
// client, as long as the client's conn lives.
type association struct {
	server  *Server
	ctx     context.Context // of its flows; ends with it
	cancel  context.CancelFunc
	request relay.Request // what each flow's begins as
	sock    PacketSocket
	client  netip.Addr     // whence datagrams are taken
	peer    netip.AddrPort // and by which port; guarded by mu

	mu    sync.Mutex
	flows map[string]*serverFlow // by the header of their datagrams
	over  bool
	wg    sync.WaitGroup
}

// associate serves p, a UDP ASSOCIATE, until its client's conn ends. port is
// whence the client says it will send, or 0.
func (s *Server) associate(ctx context.Context, p *pending, port uint16) error {
	var a *association
	err := errAssociations
	if s.Flows.enter() {
		defer s.Flows.leave()
		a, err = s.newAssociation(ctx, p, port)
	}
	if err != nil {
		err = errors.Join(err, p.Reject(err))
		s.Relay.Trace.Bad(s.Request.Listener, err)
		return err
	}
	a.ctx, a.cancel = context.WithCancel(ctx)
	defer a.cancel()
	conn, err := p.acceptAt(a.sock.LocalAddr())
	if err != nil {
		_ = a.sock.Close()
		return err
	}
	// The client's conn carries nothing more; its end is the association's.
	stop := context.AfterFunc(a.ctx, func() { _ = conn.Close() })
	a.wg.Go(a.receive)
	_, err = io.Copy(io.Discard, conn)
	stop()
	a.cancel()
	a.close()
	_ = conn.Close()
	return err
}

// newAssociation opens the socket, at the address that the client came to.
func (s *Server) newAssociation(ctx context.Context, p *pending, port uint16) (*association, error) {
	a := &association{server: s, request: p.request, flows: make(map[string]*serverFlow)}
	a.request.Network, a.request.Addr = "udp", ""
	if !s.Relay.MayCarry(ctx, a.request) {
		return nil, errNoRoute
	}
	_, raw := chain.Raw(p.conn)
	client, err1 := netip.ParseAddrPort(raw.RemoteAddr().String())
	here, err2 := netip.ParseAddrPort(raw.LocalAddr().String())
	if err1 != nil || err2 != nil {
		return nil, errNoSocket // a unix socket, say: whoever sends datagrams could be anybody
	}
	a.client = client.Addr().Unmap()
	a.peer = netip.AddrPortFrom(client.Addr(), port)
	sock, err := s.listenPacket(ctx, here.Addr().Unmap().String())
	if err != nil {
		return nil, fmt.Errorf("socks: the relay's socket: %w", err)
	}
	a.sock = sock
	return a, nil
}

// receive hands each datagram of the client to its flow. If the socket is of no more
// use, the association ends.
func (a *association) receive() {
	defer a.cancel()
	buf := packets.Get().(*[maxHeader + maxRead]byte)
	defer packets.Put(buf)
	for failures := 0; failures < 100; {
		n, from, err := a.sock.ReadFromUDPAddrPort(buf[:])
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			failures++ // of what was sent to the client, on some systems
			continue
		}
		failures = 0
		if from.Addr().Unmap() != a.client {
			continue
		}
		header, data, t, err := parseDatagram(buf[:n])
		if err != nil || !a.admits(from) {
			continue
		}
		header[0], header[1] = 0, 0
		if f := a.flow(header, t); f != nil {
			f.in.Put(data, nil)
			f.touch()
		}
	}
}

// admits reports whether from is the client's. The first datagram that is well
// formed settles the port, if the request did not.
func (a *association) admits(from netip.AddrPort) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.peer.Port() != 0 && a.peer.Port() != from.Port() {
		return false
	}
	a.peer = from // with the form that the socket has for it
	return true
}

// flow returns the flow for datagrams with that header, a new one if need be, or
// nil if there is no room.
func (a *association) flow(header []byte, t target) *serverFlow {
	a.mu.Lock()
	f := a.flows[string(header)]
	full := len(a.flows) >= a.server.Flows.perAssociation()
	a.mu.Unlock()
	if f != nil {
		return f
	}
	if full {
		a.oldest().end()
	}
	if !a.server.Flows.take() {
		a.oldest().end()
		if !a.server.Flows.take() {
			return nil
		}
	}
	f = newServerFlow(a, string(header), t)
	a.mu.Lock()
	if a.over {
		a.mu.Unlock()
		f.cancel()
		a.server.Flows.give()
		return nil
	}
	a.flows[f.header] = f
	a.mu.Unlock()
	a.wg.Go(func() { _ = a.server.Relay.Serve(f.ctx, f) })
	return f
}

// oldest returns the flow that was not used for longest, or nil.
func (a *association) oldest() (oldest *serverFlow) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.flows {
		if oldest == nil || f.used.Load() < oldest.used.Load() {
			oldest = f
		}
	}
	return oldest
}

// remove forgets f.
func (a *association) remove(f *serverFlow) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flows[f.header] == f {
		delete(a.flows, f.header)
		a.server.Flows.give()
	}
}

// send sends a datagram to the client.
func (a *association) send(b []byte) error {
	a.mu.Lock()
	to := a.peer
	a.mu.Unlock()
	_, err := a.sock.WriteToUDPAddrPort(b, to)
	return err
}

// close ends the association and waits for its flows.
func (a *association) close() {
	_ = a.sock.Close()
	a.mu.Lock()
	a.over = true
	all := make([]*serverFlow, 0, len(a.flows))
	for _, f := range a.flows {
		all = append(all, f)
	}
	a.mu.Unlock()
	for _, f := range all {
		f.end()
	}
	a.wg.Wait()
}
