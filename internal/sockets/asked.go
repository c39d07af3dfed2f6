package sockets

import (
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// AskedSize is the most bytes that the control message of a datagram has.
const AskedSize = 128

// TellAsked has c, which listens at all addresses of this machine, tell with each datagram at
// which one it came in, where the system can (Linux, macOS). What c is read by is
// [net.UDPConn.ReadMsgUDPAddrPort].
func TellAsked(c *net.UDPConn) {
	_ = ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst, true)
	_ = ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst, true)
}

// FromAsked returns the control message by which an answer leaves from the address that a
// datagram with the control message asked came to: a client takes no other for its answer. Nil
// leaves it to the system.
func FromAsked(asked []byte) []byte {
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
