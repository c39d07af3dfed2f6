//go:build unix

package testnet

import (
	"runtime"
	"syscall"
)

// sharesBound: a port that one socket has bound, and does not listen at, another may
// listen at where both have SO_REUSEADDR.
const sharesBound = runtime.GOOS == "linux"

var closeSocket = syscall.Close
