//go:build !unix

package chain

import "net"

// Quiet reports whether c is open and has nothing to read, so far as can be told
// without waiting: here that is assumed.
func Quiet(c net.Conn) bool {
	u, ok := c.(*unread)
	return !ok || len(u.ahead) == 0
}
