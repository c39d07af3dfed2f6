package local

import (
	"errors"
	"syscall"
)

// keepAlive has net leave the keep-alives of accepted conns alone.
const keepAlive = -1

// keepAlives gives a listener those that net would give each conn (15 s, nine times).
// Conns inherit them, which saves four calls of the system for each.
func keepAlives(_, _ string, c syscall.RawConn) error {
	var err error
	control := c.Control(func(fd uintptr) {
		set := func(level, option, value int) {
			err = errors.Join(err, syscall.SetsockoptInt(int(fd), level, option, value))
		}
		set(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1)
		set(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 15)
		set(syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15)
		set(syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 9)
	})
	return errors.Join(control, err)
}
