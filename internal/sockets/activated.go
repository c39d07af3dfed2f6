package sockets

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
)

// Activated are sockets that a service manager has opened before the program, and keeps open while
// it is replaced by another: nobody who connects meanwhile is refused. See sd_listen_fds(3). The zero
// value, and nil, have none.
type Activated struct {
	mu        sync.Mutex
	listeners []net.Listener
	packets   []net.PacketConn
}

// firstActivated is the descriptor of the first one.
const firstActivated = 3

// TakeActivated takes over the sockets that were opened for this process, if any. It is for
// once: what the environment says of them goes to no child.
func TakeActivated() (*Activated, error) {
	pid, n := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return &Activated{}, nil // there are none, or they are another's
	}
	count, err := strconv.ParseUint(n, 10, 8)
	if err != nil {
		return nil, errors.New("LISTEN_FDS is no number of sockets")
	}
	var files []*os.File
	for fd := firstActivated; fd < firstActivated+int(count); fd++ {
		files = append(files, os.NewFile(uintptr(fd), "socket "+strconv.Itoa(fd))) //nolint:gosec // small
	}
	return Activate(files)
}

// Activate makes sockets of files, which it closes.
func Activate(files []*os.File) (*Activated, error) {
	a := &Activated{}
	for _, f := range files {
		l, err := net.FileListener(f)
		if err == nil {
			a.listeners = append(a.listeners, l)
		} else if p, perr := net.FilePacketConn(f); perr == nil {
			a.packets, err = append(a.packets, p), nil
		}
		_ = f.Close() // the socket has a descriptor of its own now
		if err != nil {
			a.Close()
			return nil, errors.New("what a service manager handed over is no socket that listens")
		}
	}
	return a, nil
}

// Listener returns the one that listens at address, host:port or the path of a unix socket, or nil. It is
// the caller's then.
func (a *Activated) Listener(address string) net.Listener {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, l := range a.listeners {
		if isAt(l.Addr(), address) {
			a.listeners = append(a.listeners[:i:i], a.listeners[i+1:]...)
			return l
		}
	}
	return nil
}

// PacketConn returns the one of UDP at address, or nil. It is the caller's then.
func (a *Activated) PacketConn(address string) net.PacketConn {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, p := range a.packets {
		if isAt(p.LocalAddr(), address) {
			a.packets = append(a.packets[:i:i], a.packets[i+1:]...)
			return p
		}
	}
	return nil
}

// isAt reports whether a is what address stands for. No name is looked up: "localhost" is 127.0.0.1 or ::1.
func isAt(a net.Addr, address string) bool {
	if u, ok := a.(*net.UnixAddr); ok {
		return u.Name == address
	}
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return false
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != strconv.Itoa(int(at.Port())) {
		return false
	}
	ip := at.Addr().Unmap()
	switch host {
	case "":
		return ip.IsUnspecified()
	case "localhost":
		return ip == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || ip == netip.IPv6Loopback()
	}
	want, err := netip.ParseAddr(host)
	return err == nil && want.Unmap() == ip
}

// Left returns the addresses of those that nobody has taken.
func (a *Activated) Left() (all []string) {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.listeners {
		all = append(all, l.Addr().String())
	}
	for _, p := range a.packets {
		all = append(all, p.LocalAddr().String())
	}
	return all
}

// Close closes those that nobody has taken.
func (a *Activated) Close() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.listeners {
		_ = l.Close()
	}
	for _, p := range a.packets {
		_ = p.Close()
	}
	a.listeners, a.packets = nil, nil
}
