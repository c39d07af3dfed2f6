package sockets

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Datagrams is the part of *net.UDPConn by which datagrams come and go.
type Datagrams interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// messages is the part by which they come and go with control messages.
type messages interface {
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, from netip.AddrPort, err error)
	WriteMsgUDPAddrPort(b, oob []byte, to netip.AddrPort) (n, oobn int, err error)
}

// A Caller is who sent a datagram, and at which of our addresses it came in, where a socket
// tells that ([TellAsked]). Callers can be compared.
type Caller struct {
	Addr netip.AddrPort

	at string // the control message by which an answer leaves from there; "" leaves it to the system
}

// TellAsked has c, which listens at all addresses of this machine, tell with each datagram at
// which one it came in, where the system can (Linux, macOS): a client takes no answer that
// comes from another.
func TellAsked(c *net.UDPConn) {
	_ = ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst, true)
	_ = ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst, true)
}

// Receive reads a datagram into b.
func Receive(c Datagrams, b []byte) (n int, from Caller, err error) {
	m, ok := c.(messages)
	if !ok {
		n, from.Addr, err = c.ReadFromUDPAddrPort(b)
		return n, from, err
	}
	var asked [128]byte
	n, size, _, addr, err := m.ReadMsgUDPAddrPort(b, asked[:])
	return n, Caller{addr, string(fromAsked(asked[:size]))}, err
}

// Answer sends b to the caller, from where it called.
func (k Caller) Answer(c Datagrams, b []byte) (int, error) {
	if m, ok := c.(messages); ok && k.at != "" {
		n, _, err := m.WriteMsgUDPAddrPort(b, []byte(k.at), k.Addr)
		return n, err
	}
	return c.WriteToUDPAddrPort(b, k.Addr)
}

// fromAsked returns the control message by which an answer leaves from the address to which a
// datagram with the control message asked came.
func fromAsked(asked []byte) []byte {
	if len(asked) == 0 {
		return nil
	}
	var four ipv4.ControlMessage
	if err := four.Parse(asked); err == nil && four.Dst.To4() != nil {
		return (&ipv4.ControlMessage{Src: four.Dst}).Marshal()
	}
	var six ipv6.ControlMessage
	if err := six.Parse(asked); err != nil || six.Dst == nil || six.Dst.To4() != nil {
		return nil
	}
	answer := ipv6.ControlMessage{Src: six.Dst}
	if six.Dst.IsLinkLocalUnicast() {
		answer.IfIndex = six.IfIndex
	}
	return answer.Marshal()
}
