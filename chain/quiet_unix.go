//go:build unix

package chain

import (
	"net"
	"syscall"
)

// Quiet reports whether c is open and has nothing to read, so far as can be told
// without waiting: of conns that are not the operating system's it is assumed.
func Quiet(c net.Conn) bool {
	if u, ok := c.(*unread); ok {
		if len(u.ahead) > 0 {
			return false
		}
		c = u.Conn
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	var b [1]byte
	err = rc.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN || err == syscall.EINTR
		return true
	})
	return err == nil && quiet
}
