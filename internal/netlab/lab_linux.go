package netlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Lab is a set of hosts and links. It ends with its test.
type Lab struct {
	t     testing.TB
	hosts []*Host
	links []*link
	wg    sync.WaitGroup
}

// A Host is a network namespace. It is a chain.Dialer for addresses, not names.
type Host struct {
	lab   *Lab
	index int
	ns    string // name
	addr  netip.Addr
	peers map[*Host]string // devices to neighbours
}

var labs atomic.Int32

// New returns an empty lab. It skips the test where this system cannot have one;
// with CI set in the environment that is a failure.
func New(t testing.TB) *Lab {
	t.Helper()
	give := t.Skip
	if os.Getenv("CI") != "" {
		give = t.Fatal
	}
	if os.Geteuid() != 0 {
		give("netlab needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		give("netlab needs ", err)
	}
	if _, err := exec.LookPath("ip"); err != nil {
		give("netlab needs ", err)
	}
	l := &Lab{t: t}
	t.Cleanup(l.close)
	// Hosts do not wait for each other's processors.
	before := runtime.GOMAXPROCS(max(processors, runtime.GOMAXPROCS(0)))
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	return l
}

// processors is for how many goroutines of hosts and links at a time the runtime
// does not queue them, as hosts have nothing in common.
const processors = 8

func (l *Lab) close() {
	for _, k := range l.links {
		_ = k.a.Close()
		_ = k.b.Close()
	}
	l.wg.Wait()
	for _, h := range l.hosts {
		_ = exec.CommandContext(context.Background(), "ip", "netns", "del", h.ns).Run()
	}
}

// Host adds a host.
func (l *Lab) Host() *Host {
	l.t.Helper()
	n := len(l.hosts) + 1
	h := &Host{
		lab: l, index: n, peers: make(map[*Host]string),
		ns:   fmt.Sprintf("netlab-%d-%d-%d", os.Getpid(), labs.Add(1), n),
		addr: netip.AddrFrom4([4]byte{10, 77, 0, byte(n)}),
	}
	l.ip("netns", "add", h.ns)
	l.hosts = append(l.hosts, h)
	l.ip("-n", h.ns, "link", "set", "lo", "up")
	l.ip("-n", h.ns, "addr", "add", h.addr.String()+"/32", "dev", "lo")
	l.ip("netns", "exec", h.ns, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	return h
}

func (l *Lab) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.CommandContext(context.Background(), "ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// Route lets every host reach every other by way of the links, which must make a tree.
func (l *Lab) Route() {
	l.t.Helper()
	for _, from := range l.hosts {
		for next, device := range from.peers {
			for _, to := range beyond(next, from) {
				l.ip("-n", from.ns, "route", "add", to.addr.String()+"/32", "dev", device, "src", from.addr.String())
			}
		}
	}
}

// beyond returns h and all hosts behind it, seen from one of its neighbours.
func beyond(h, from *Host) []*Host {
	all := []*Host{h}
	for next := range h.peers {
		if next != from {
			all = append(all, beyond(next, h)...)
		}
	}
	return all
}

// Addr returns the host's address with a port.
func (h *Host) Addr(port uint16) string { return netip.AddrPortFrom(h.addr, port).String() }

// Set sets a sysctl of the host's network.
func (h *Host) Set(name, value string) {
	h.lab.t.Helper()
	h.lab.ip("netns", "exec", h.ns, "sysctl", "-qw", name+"="+value)
}

// Namespace returns the name by which "ip netns exec" knows the host.
func (h *Host) Namespace() string { return h.ns }

// DialContext dials from the host. addr must not hold a name.
func (h *Host) DialContext(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	if _, parse := netip.ParseAddrPort(addr); parse != nil {
		return nil, parse
	}
	if e := h.Do(func() { conn, err = (&net.Dialer{}).DialContext(ctx, network, addr) }); e != nil {
		return nil, e
	}
	return conn, err
}

// Carries reports that the host has what a *net.Dialer has.
func (h *Host) Carries(network string) bool { return network == "tcp" || network == "udp" }

// Listen listens on a TCP port of the host.
func (h *Host) Listen(port uint16) (l net.Listener, err error) {
	if e := h.Do(func() { l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", h.Addr(port)) }); e != nil {
		return nil, e
	}
	return l, err
}

// Do runs f on a thread that is in the host's namespace: sockets that f makes are
// the host's for good.
func (h *Host) Do(f func()) error {
	done := make(chan error, 1)
	go func() {
		// The thread is not fit for others afterwards: it ends with the goroutine.
		runtime.LockOSThread()
		ns, err := os.Open("/run/netns/" + h.ns)
		if err != nil {
			done <- err
			return
		}
		defer ns.Close() //nolint:errcheck // nothing was written
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("setns: %w", err)
			return
		}
		f()
		done <- nil
	}()
	return <-done
}

// link is a pair of TUN devices.
type link struct {
	a, b  *os.File
	delay time.Duration
}

// Link joins two hosts by a link with a one-way delay.
func (l *Lab) Link(a, b *Host, delay time.Duration) {
	l.t.Helper()
	k := &link{delay: delay, a: l.device(a, b), b: l.device(b, a)}
	l.links = append(l.links, k)
	l.carry(k.b, k.a, delay)
	l.carry(k.a, k.b, delay)
}

// mtu lets bulk flow without this process being the limit too soon.
const mtu = 9000

func (l *Lab) device(h, to *Host) *os.File {
	l.t.Helper()
	name := fmt.Sprintf("to%d", to.index)
	var f *os.File
	var err error
	if e := h.Do(func() { f, err = openTUN(name) }); e != nil || err != nil {
		l.t.Fatal(errors.Join(e, err))
	}
	h.peers[to] = name
	l.ip("-n", h.ns, "link", "set", name, "up", "mtu", fmt.Sprint(mtu), "txqueuelen", "10000")
	return f
}

func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("tun: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

type packet struct {
	data []byte
	at   time.Time // of arrival
}

// carry moves packets from one device to the other, each after the delay.
func (l *Lab) carry(to, from *os.File, delay time.Duration) {
	queue := make(chan packet, 1<<14)
	l.wg.Go(func() {
		defer close(queue)
		for {
			buf := make([]byte, mtu)
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			queue <- packet{buf[:n], time.Now().Add(delay)}
		}
	})
	l.wg.Go(func() {
		defer punctual()()
		for p := range queue {
			sleepUntil(p.at)
			_, _ = to.Write(p.data) // a device that is down loses it, as wires do
		}
	})
}

// punctual gives the goroutine a thread of its own whose sleeps the kernel does not
// stretch, until the function returned is called.
func punctual() (undo func()) {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return func() {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // the default
		runtime.UnlockOSThread()
	}
}

// sleepUntil is exact where time.Sleep, which waits in epoll, is up to a millisecond
// late: on a path of sixteen trips that adds up.
func sleepUntil(t time.Time) {
	for wait := time.Until(t); wait > 0; wait = time.Until(t) {
		ts := unix.NsecToTimespec(int64(wait))
		_ = unix.Nanosleep(&ts, nil) // a signal cuts it short
	}
}
