//go:build darwin || freebsd

package sockets

import "golang.org/x/sys/unix"

// TellsPeer reports whether [Peer] works on this system.
const TellsPeer = true

func peer(fd int) (UID, error) {
	const level = 0 // SOL_LOCAL
	c, err := unix.GetsockoptXucred(fd, level, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return UID(c.Uid), nil
}
