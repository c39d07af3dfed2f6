package hop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/byway-proxy/byway/chain"
)

// A Base is the way by which hop 1 is reached from this machine, where that is not
// left to the system. The zero value leaves everything to it. It is about hop 1
// alone: names are resolved as the system does, by whatever way.
type Base struct {
	// Interface is a network interface by which packets leave, whatever the routes
	// say (Linux, SO_BINDTODEVICE).
	Interface string

	// Source is the address of ours that is used.
	Source netip.Addr

	// Mark is put on each packet for the firewall and the routing rules (Linux,
	// SO_MARK, which asks for CAP_NET_ADMIN). 0 puts none.
	Mark uint32

	// Congestion is the name of TCP's congestion control (Linux, TCP_CONGESTION), such
	// as "bbr". Where the kernel lacks it or forbids it, the kernel's own choice is
	// used; see [Base.Lacks].
	Congestion string
}

// IsZero reports whether b leaves everything to the system.
func (b Base) IsZero() bool { return b == Base{} }

// Dialer returns a dialer like d that keeps to b. What b asks for is done or the
// dial fails, save for Congestion. It is an error if this system can't do it at all,
// or if d is bound to something already. A ControlContext of d is asked first.
func (b Base) Dialer(d *net.Dialer) (chain.Dialer, error) {
	if d.LocalAddr != nil || d.Control != nil {
		return nil, errors.New("hop: the base dialer is bound already")
	}
	if !canBind && b.Interface != "" {
		return nil, fmt.Errorf("hop: an interface cannot be chosen on this system: %w", errors.ErrUnsupported)
	}
	if !canBind && b.Mark != 0 {
		return nil, fmt.Errorf("hop: packets cannot be marked on this system: %w", errors.ErrUnsupported)
	}
	out := &based{tcp: *d, udp: *d}
	out.tcp.ControlContext = func(ctx context.Context, network, addr string, c syscall.RawConn) error {
		if d.ControlContext != nil {
			if err := d.ControlContext(ctx, network, addr, c); err != nil {
				return err
			}
		}
		return b.control(network, c)
	}
	out.udp.ControlContext = out.tcp.ControlContext
	if b.Source.IsValid() {
		ip := net.IP(b.Source.AsSlice())
		out.tcp.LocalAddr = &net.TCPAddr{IP: ip, Zone: b.Source.Zone()}
		out.udp.LocalAddr = &net.UDPAddr{IP: ip, Zone: b.Source.Zone()}
	}
	return out, nil
}

// based is a base dialer that keeps to a Base.
type based struct{ tcp, udp net.Dialer }

func (d *based) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	switch network {
	case "tcp":
		return d.tcp.DialContext(ctx, network, addr)
	case "udp":
		return d.udp.DialContext(ctx, network, addr)
	}
	return nil, unsupported(network)
}

// Carries is of chain.Carrier.
func (d *based) Carries(network string) bool { return network == "tcp" || network == "udp" }
