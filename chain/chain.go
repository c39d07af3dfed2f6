package chain

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// A Dialer opens connections. It has the method set of
// golang.org/x/net/proxy.ContextDialer, and *net.Dialer is one.
//
// network is "tcp" or "udp"; a Dialer that cannot carry the network given
// returns an error that satisfies errors.Is(err, errors.ErrUnsupported). addr is
// host:port, the host a name or an address, a name unresolved. A udp conn
// carries one datagram per Read and Write. ctx bounds the dial alone: the conn
// returned does not die with it. The caller owns the conn and closes it.
type Dialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// DialerFunc is a function that is a [Dialer].
type DialerFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// DialContext calls f.
func (f DialerFunc) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return f(ctx, network, addr)
}

// A Hop is one upstream proxy. Its zero value is refused by [New].
type Hop struct {
	// Name tells people which hop this is: the name given in the configuration,
	// or scheme://host:port. It never holds credentials.
	Name string

	// Wrap returns the dialer that opens connections through the hop. next
	// reaches the hop itself; Wrap must use nothing else to get there.
	//
	// A dialer returned by Wrap reports its failures by [Fail], and returns what
	// next reports as it is. If it holds resources (idle sessions) it is also an
	// io.Closer.
	Wrap func(next Dialer) (Dialer, error)
}

// A Chain dials through its hops in order. It is a [Dialer], and with Dial also
// a golang.org/x/net/proxy.Dialer. It is safe for concurrent use.
type Chain struct {
	top    Dialer
	layers []Dialer
	hops   []string
}

// New nests hops over base: base reaches hops[0], hops[0] reaches hops[1], and
// so on. base and at least one hop are required: a chain never means "direct".
func New(base Dialer, hops ...Hop) (*Chain, error) {
	if base == nil {
		return nil, errors.New("chain: no base dialer")
	}
	if len(hops) == 0 {
		return nil, errors.New("chain: no hops: an empty chain is not a way to go direct")
	}
	c := &Chain{}
	next := base
	for i, h := range hops {
		if h.Wrap == nil {
			return nil, fmt.Errorf("chain: hop %d %s has no Wrap", i+1, h.Name)
		}
		at := place{hop: i + 1, of: len(hops), name: h.Name}
		d, err := h.Wrap(reach{next: next, to: at})
		if err == nil && d == nil {
			err = errors.New("its Wrap returned no dialer")
		}
		if err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("chain: hop %d %s: %w", i+1, h.Name, err)
		}
		c.layers = append(c.layers, d)
		c.hops = append(c.hops, h.Name)
		next = layer{Dialer: d, at: at}
	}
	c.top = next
	return c, nil
}

// Hops returns the names of the hops, first to last.
func (c *Chain) Hops() []string { return append([]string(nil), c.hops...) }

// DialContext opens a connection to addr by way of every hop. Errors are of type
// *[Error], save for an unsupported network.
func (c *Chain) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if c == nil || c.top == nil {
		return nil, errors.New("chain: a zero Chain dials nothing")
	}
	switch network {
	case "tcp", "udp":
	default:
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.ErrUnsupported}
	}
	return c.top.DialContext(ctx, network, addr)
}

// Dial is DialContext without a context, for golang.org/x/net/proxy.Dialer.
func (c *Chain) Dial(network, addr string) (net.Conn, error) {
	return c.DialContext(context.Background(), network, addr)
}

// Close gives back what the hops keep open for reuse, such as idle sessions.
// Connections handed out live on until their owner closes them.
func (c *Chain) Close() error {
	var errs []error
	for i := len(c.layers) - 1; i >= 0; i-- {
		if cl, ok := c.layers[i].(interface{ Close() error }); ok {
			errs = append(errs, cl.Close())
		}
	}
	return errors.Join(errs...)
}

// place says which hop of how many.
type place struct {
	hop, of int
	name    string
}

// layer is a hop's dialer; it stamps the hop on errors that carry none.
type layer struct {
	Dialer
	at place
}

func (l layer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := l.Dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, l.at.stamp(err, PhaseConnect)
	}
	return conn, nil
}

// reach is the way to a hop: whatever fails there is that hop's failure to be
// dialled. That the hop below was the one to say so ("connection refused") does
// not make it the one at fault.
type reach struct {
	next Dialer
	to   place
}

func (r reach) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := r.next.DialContext(ctx, network, addr)
	if err != nil {
		return nil, r.to.reached(err)
	}
	return conn, nil
}
