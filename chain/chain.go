package chain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
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

	// Paused, if not nil, says while it is true that the hop is not to be dialled: dials
	// through it fail with [ErrPaused]. What is open stays open.
	Paused *atomic.Bool
}

// A Chain dials through its hops in order. It is a [Dialer], and with Dial also
// a golang.org/x/net/proxy.Dialer. It is safe for concurrent use.
type Chain struct {
	top    Dialer
	layers []*layer
	hops   []string

	dialing atomic.Int64
}

// New nests hops over base: base reaches hops[0], hops[0] reaches hops[1], and
// so on. base and at least one hop are required: a chain never means "direct".
func New(base Dialer, hops ...Hop) (*Chain, error) {
	if base == nil {
		return nil, errors.New("chain: no base dialer")
	}
	c, err := nest(base, hops, func(i int) place {
		return place{hop: i + 1, of: len(hops), name: hops[i].Name}
	})
	if err != nil {
		return nil, fmt.Errorf("chain: %w", err)
	}
	return c, nil
}

// Sequence returns a chain as one hop, so that a group may name chains and a
// chain may name other chains. Like a chain it needs a hop at least.
//
// Its hops go by the place that it has in the whole chain, and by their names
// after its own ("hop 2/3 paris/entry"); if it is the only hop, they count.
func Sequence(name string, hops ...Hop) Hop {
	return Hop{Name: name, Wrap: func(next Dialer) (Dialer, error) {
		outer := placeOf(next, name)
		c, err := nest(next, hops, func(i int) place { return outer.nth(i+1, len(hops), hops[i].Name) })
		if err != nil {
			return nil, err // and not c, which would be no nil Dialer
		}
		return c, nil
	}}
}

func nest(next Dialer, hops []Hop, at func(i int) place) (*Chain, error) {
	if next == nil {
		return nil, errors.New("no dialer that reaches the first hop")
	}
	if len(hops) == 0 {
		return nil, errors.New("no hops: an empty chain is not a way to go direct")
	}
	c := &Chain{}
	for i, h := range hops {
		l, err := wrap(next, h, at(i))
		if err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("hop %d %s: %w", i+1, h.Name, err)
		}
		c.layers = append(c.layers, l)
		c.hops = append(c.hops, h.Name)
		next = l
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
	if err := c.rests(); err != nil {
		return nil, err
	}
	c.dialing.Add(1)
	defer c.dialing.Add(-1)
	return c.top.DialContext(ctx, network, addr)
}

// Dialing returns how many dials are in progress. While there are any, to close the
// chain would have them fail.
func (c *Chain) Dialing() int { return int(c.dialing.Load()) }

// Dial is DialContext without a context, for golang.org/x/net/proxy.Dialer.
func (c *Chain) Dial(network, addr string) (net.Conn, error) {
	return c.DialContext(context.Background(), network, addr)
}

// Close gives back what the hops keep open for reuse, such as idle sessions.
// Connections handed out live on until their owner closes them.
func (c *Chain) Close() error {
	var errs []error
	for i := len(c.layers) - 1; i >= 0; i-- {
		errs = append(errs, c.layers[i].Close())
	}
	return errors.Join(errs...)
}

// Groups tells of the groups in c, and of the chains that choose their hops.
func (c *Chain) Groups() []GroupStatus {
	var all []GroupStatus
	for _, l := range c.layers {
		all = append(all, l.Groups()...)
	}
	return all
}
