package testnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// A Network is a set of hosts, each reachable from each other by name.
type Network struct {
	mu        sync.Mutex
	delays    map[[2]string]time.Duration
	listeners map[string]*listener // by host:port
	sockets   map[Addr]*Socket     // by host:port, of datagrams
	holes     map[string]bool
	dials     []Dial
	nextPort  int
}

// A Dial is a record of one attempt to connect.
type Dial struct{ From, To string } // host, host:port

// New returns a network in which every link has no delay.
func New() *Network {
	return &Network{
		delays:    make(map[[2]string]time.Duration),
		listeners: make(map[string]*listener),
		holes:     make(map[string]bool),
		nextPort:  40000,
	}
}

// SetDelay sets the one-way delay between two hosts, for conns opened later.
func (n *Network) SetDelay(a, b string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delays[[2]string{a, b}] = d
	n.delays[[2]string{b, a}] = d
}

// BlackHole makes dials to addr (host:port) wait until they are given up.
func (n *Network) BlackHole(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.holes[addr] = true
}

// Dials returns every attempt to connect so far, in order.
func (n *Network) Dials() []Dial {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Dial(nil), n.dials...)
}

// Host returns the host of that name, which need not be declared.
func (n *Network) Host(name string) *Host { return &Host{n: n, name: name} }

// A Host dials and listens on a [Network]. It is a chain.Dialer.
type Host struct {
	n    *Network
	name string
}

var _ chain.Dialer = (*Host)(nil)

// DialContext connects to addr, host:port. It takes one round trip. A port that
// nobody listens on refuses, after the same time. Of network "udp" it returns a
// [Socket] at once.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	switch network {
	case "tcp":
	case "udp":
		return h.dialUDP(ctx, addr)
	default:
		return nil, opError("dial", addr, errors.ErrUnsupported)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n := h.n
	n.mu.Lock()
	n.dials = append(n.dials, Dial{h.name, addr})
	delay := n.delays[[2]string{h.name, host}]
	n.nextPort++
	port := n.nextPort
	hole := n.holes[addr]
	n.mu.Unlock()
	if hole {
		<-ctx.Done()
		return nil, opError("dial", addr, ctx.Err())
	}
	if err := sleep(ctx, delay); err != nil {
		return nil, opError("dial", addr, err)
	}
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		if err := sleep(ctx, delay); err != nil {
			return nil, opError("dial", addr, err)
		}
		return nil, opError("dial", addr, syscall.ECONNREFUSED)
	}
	near := Addr(net.JoinHostPort(h.name, strconv.Itoa(port)))
	here, there := pair(near, Addr(addr), delay)
	if !l.offer(there) {
		return nil, opError("dial", addr, syscall.ECONNREFUSED)
	}
	if err := sleep(ctx, delay); err != nil {
		_ = here.Abort()
		return nil, opError("dial", addr, err)
	}
	return here, nil
}

// Listen listens on ":port" of the host.
func (h *Host) Listen(port string) (net.Listener, error) {
	addr := h.name + port
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, err
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if h.n.listeners[addr] != nil {
		return nil, opError("listen", addr, syscall.EADDRINUSE)
	}
	l := &listener{n: h.n, addr: Addr(addr), conns: make(chan net.Conn, 1024), closed: make(chan struct{})}
	h.n.listeners[addr] = l
	return l, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Addr is an address of a [Network], host:port.
type Addr string

// Network returns "tcp".
func (Addr) Network() string { return "tcp" }

func (a Addr) String() string { return string(a) }

func opError(op, addr string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: Addr(addr), Err: err}
}

type listener struct {
	n      *Network
	addr   Addr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *listener) offer(c net.Conn) bool {
	select {
	case <-l.closed:
		return false
	case l.conns <- c:
		return true
	default:
		return false // the backlog is full
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, opError("accept", string(l.addr), net.ErrClosed)
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.n.mu.Lock()
		delete(l.n.listeners, string(l.addr))
		l.n.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.conns:
				_ = chain.Abort(c)
			default:
				return
			}
		}
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// NoDial returns a dialer that fails the test when it is touched: the proof that
// nothing goes another way.
func NoDial(t testing.TB) chain.Dialer {
	return chain.DialerFunc(func(_ context.Context, network, addr string) (net.Conn, error) {
		t.Errorf("dialled %s %s, and must not have", network, addr)
		return nil, fmt.Errorf("testnet: this dialer must not be used")
	})
}

// Only returns a dialer that passes on dials to the addresses given, and fails
// the test at any other.
func Only(t testing.TB, d chain.Dialer, addrs ...string) chain.Dialer {
	return chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
		for _, a := range addrs {
			if a == addr {
				return d.DialContext(ctx, network, addr)
			}
		}
		return NoDial(t).DialContext(ctx, network, addr)
	})
}
