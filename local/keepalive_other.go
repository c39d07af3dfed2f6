//go:build !linux

package local

import "syscall"

// Elsewhere accepted conns may not inherit keep-alives: net gives them.
const keepAlive = 0

var keepAlives func(network, address string, c syscall.RawConn) error
