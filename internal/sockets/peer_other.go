//go:build !linux && !darwin && !freebsd

package sockets

import "errors"

// TellsPeer reports whether [Peer] works on this system.
const TellsPeer = false

func peer(int) (UID, error) { return 0, errors.ErrUnsupported }
