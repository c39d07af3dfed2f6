//go:build !windows

package chain

import "syscall"

// native maps the system's own numbers to those of [Errno].
func native(e syscall.Errno) syscall.Errno {
	switch e {
	case syscall.EPIPE, syscall.ECONNABORTED:
		return syscall.ECONNRESET
	case syscall.ENFILE:
		return syscall.EMFILE
	case syscall.EPERM:
		return syscall.EACCES
	case syscall.EHOSTDOWN:
		return syscall.EHOSTUNREACH
	case syscall.ENETDOWN:
		return syscall.ENETUNREACH
	}
	return e
}
