package local

import (
	"errors"
	"net"
	"syscall"
)

// acceptedConfig listens for conns that have keep-alives as net would give them (15 s,
// nine times). They inherit them from the listener, which saves four calls of the
// system for each.
func acceptedConfig() *net.ListenConfig {
	return &net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
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
	}}
}
