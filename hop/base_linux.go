package hop

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

const canBind = true

// control sets the options of a socket before it connects.
func (b Base) control(network string, c syscall.RawConn) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = b.set(int(fd), network) }); err != nil {
		return err
	}
	return failed
}

// bindError says what could not be set, and is the errno of that.
type bindError struct {
	what string
	err  error
}

func (e *bindError) Error() string        { return e.what + ": " + e.err.Error() }
func (e *bindError) Is(target error) bool { return target == e.err }

func (b Base) set(fd int, network string) error {
	if b.Interface != "" {
		if err := syscall.SetsockoptString(fd, syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE, b.Interface); err != nil {
			return &bindError{"interface " + b.Interface, err}
		}
	}
	if b.Mark != 0 {
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_MARK, int(b.Mark)); err != nil {
			return &bindError{"mark", err}
		}
	}
	if b.Congestion != "" && strings.HasPrefix(network, "tcp") {
		_ = setCongestion(fd, b.Congestion) // Lacks tells
	}
	return nil
}

func setCongestion(fd int, name string) error {
	return syscall.SetsockoptString(fd, syscall.IPPROTO_TCP, syscall.TCP_CONGESTION, name)
}

// Lacks tells why Congestion is not used, or returns nil if it is.
func (b Base) Lacks() error {
	if b.Congestion == "" {
		return nil
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil // nothing is known
	}
	defer func() { _ = syscall.Close(fd) }()
	switch err := setCongestion(fd, b.Congestion); {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("congestion control %q is not allowed to us", b.Congestion)
	default:
		return fmt.Errorf("this kernel has no congestion control %q", b.Congestion)
	}
}
