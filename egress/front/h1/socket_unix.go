//go:build unix

package h1

import "syscall"

// silent reports whether nothing has come on a connection at which nothing is waited for, not even
// its end.
func silent(c syscall.RawConn) bool {
	quiet := false
	err := c.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, e := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		quiet = e == syscall.EAGAIN || e == syscall.EWOULDBLOCK
		return true
	})
	return err == nil && quiet
}

// readNow reads what is there already, and returns how much. Whatever ends the
// connection is found by who reads next.
func readNow(c syscall.RawConn, p []byte) (n int) {
	_ = c.Read(func(fd uintptr) bool {
		n, _ = syscall.Read(int(fd), p)
		return true
	})
	return max(n, 0)
}
