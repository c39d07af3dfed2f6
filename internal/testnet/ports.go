package testnet

import (
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// Refusing returns a loopback address that refuses TCP conns until the test ends.
func Refusing(t testing.TB) (addr string) { return kept(t, Refuse) }

// Refuse is [Refusing] until release. The port is bound all the time, so that nobody
// comes to listen at it, as happens to one that a listener has left.
func Refuse() (addr string, release func(), err error) { return bind(false) }

// Reserved returns a loopback address for a program that can't choose its port, until
// the test ends. See [Reserve].
func Reserved(t testing.TB) (addr string) { return kept(t, Reserve) }

// Reserve returns a loopback address for a program that is told where to listen. On
// Linux its port is kept until release: the system chooses it for nobody, and it
// refuses until the program, with SO_REUSEADDR as servers have it, listens there.
// So whoever answers is the program. Elsewhere a bound port can't be shared so, and
// it is one that was free a moment ago.
func Reserve() (addr string, release func(), err error) {
	addr, release, err = bind(sharesBound)
	if err == nil && !sharesBound {
		release()
		release = func() {}
	}
	return addr, release, err
}

func kept(t testing.TB, get func() (string, func(), error)) string {
	t.Helper()
	addr, release, err := get()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return addr
}

// bind binds a socket to a free port of 127.0.0.1, and does not listen.
func bind(share bool) (addr string, release func(), err error) {
	syscall.ForkLock.RLock() // no child gets it
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	release = func() { _ = closeSocket(fd) }
	if share {
		err = os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	}
	if err == nil {
		err = os.NewSyscallError("bind", syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	}
	if err != nil {
		release()
		return "", nil, err
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		release()
		return "", nil, os.NewSyscallError("getsockname", err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*syscall.SockaddrInet4).Port)), release, nil
}
