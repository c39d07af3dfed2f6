package sockets

import (
	"errors"
	"net"
	"strconv"
)

// A UID is a user of this machine. As a net.Addr it stands for a client at a unix
// socket.
type UID uint32

// Network returns "unix".
func (UID) Network() string { return "unix" }

// String returns "uid 1000" or the like.
func (u UID) String() string { return "uid " + strconv.FormatUint(uint64(u), 10) }

// Peer returns the user who connected c, a conn of a unix socket, as the system
// knows it: the effective one at the time of connecting. It fails with
// errors.ErrUnsupported where the system does not tell.
func Peer(c net.Conn) (UID, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var uid UID
	var told error
	if err := raw.Control(func(fd uintptr) { uid, told = peer(int(fd)) }); err != nil {
		return 0, err
	}
	return uid, told
}
