package socks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/datagram"
)

var (
	errNoUDP       = unsupportedError("the way to the hop does not carry udp")
	errAssociation = endedError("the hop ended the UDP association")
)

// An unsupportedError is about something that a hop, or the way to it, can't do.
type unsupportedError string

func (e unsupportedError) Error() string        { return string(e) }
func (e unsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// An endedError is about what the hop ended.
type endedError string

func (e endedError) Error() string        { return string(e) }
func (e endedError) Is(target error) bool { return target == syscall.ECONNRESET }

// Carries reports whether the hop may carry network: UDP if the way to it does, and
// the hop has not said lately that it does not know how. It is of chain.Carrier.
func (d *dialer5) Carries(network string) bool {
	return network == "tcp" || network == "udp" && !d.learnt.tcpOnly.is() && chain.Carries(d.next, "udp")
}

// associate opens a flow to addr by UDP ASSOCIATE (RFC 1928 §7). Each flow has an
// association of its own: a server that was given a name answers from an address,
// so that two flows over one association could not be told apart.
func (d *dialer5) associate(ctx context.Context, addr string) (net.Conn, error) {
	t, err := parseTarget(addr)
	if err != nil {
		return nil, chain.Fail(chain.PhaseConnect, fmt.Errorf("socks: target: %w", err))
	}
	if !chain.Carries(d.next, "udp") {
		return nil, chain.Fail(chain.PhaseDial, errNoUDP)
	}
	// Whence our datagrams will come is not known: zeros (§7).
	control, bound, err := d.command(ctx, commandAssociate, target{ip: netip.IPv4Unspecified()})
	if err != nil {
		if errors.Is(err, badCommand) {
			d.learnt.tcpOnly.begin(askAgain)
		}
		return nil, err
	}
	relay, err := d.ownIfNone(bound)
	if err != nil {
		_ = control.Close()
		return nil, chain.Fail(chain.PhaseConnect, err)
	}
	limited, cancel := context.WithTimeout(ctx, d.dialLimit)
	defer cancel()
	conn, err := d.next.DialContext(limited, "udp", relay)
	if err != nil {
		_ = control.Close()
		return nil, err
	}
	f := &hopFlow{Conn: conn, control: control, to: t, header: string(t.appendHeader(nil))}
	go f.watch()
	return f, nil
}

// hopFlow is a flow by way of a SOCKS5 hop: a net.Conn of datagrams. It ends with the
// association, and the association with it.
type hopFlow struct {
	net.Conn // datagrams to and from the hop's relay
	control  net.Conn
	to       target
	header   string

	mu  sync.Mutex
	err error // why it ended, if it was not closed
}

// watch waits for the end of the association.
func (f *hopFlow) watch() {
	_, _ = io.Copy(io.Discard, f.control)
	f.mu.Lock()
	f.err = errAssociation
	f.mu.Unlock()
	_ = f.Close()
}

// ended returns why the flow ended, or err if it did not by itself.
func (f *hopFlow) ended(err error) error {
	if err == nil || !errors.Is(err, net.ErrClosed) {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	return err
}

// Read returns the next datagram that is from the target.
func (f *hopFlow) Read(p []byte) (int, error) {
	if len(p) >= datagram.Max {
		return f.read(p, p)
	}
	buf := packets.Get().(*[maxHeader + maxRead]byte)
	defer packets.Put(buf)
	return f.read(p, buf[:])
}

// read is Read by way of buf, which may be p.
func (f *hopFlow) read(p, buf []byte) (int, error) {
	for {
		n, err := f.Conn.Read(buf)
		if err != nil {
			return 0, f.ended(err)
		}
		_, data, from, err := parseDatagram(buf[:n])
		if err == nil && f.isFrom(from) {
			return copy(p, data), nil
		}
	}
}

// isFrom reports whether a datagram from there is the target's. Of a name it is
// unknown which addresses it has there; the port must be right.
func (f *hopFlow) isFrom(from target) bool {
	switch {
	case from.port != f.to.port:
		return false
	case f.to.ip.IsValid():
		return from.ip == f.to.ip
	}
	return from.ip.IsValid() || strings.EqualFold(from.name, f.to.name)
}

// Write sends p to the target.
func (f *hopFlow) Write(p []byte) (int, error) {
	return pack(f.header, p, func(b []byte) error {
		_, err := f.Conn.Write(b)
		return f.ended(err)
	})
}

// Close ends the flow and the association.
func (f *hopFlow) Close() error {
	err := f.Conn.Close()
	_ = f.control.Close()
	return err
}
