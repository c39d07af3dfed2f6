package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/hop"
)

// A Binder is a base dialer that can be told by which way to leave this machine.
// Besides it, [New] knows how to tell *net.Dialer.
type Binder interface {
	chain.Dialer

	// Bind returns a base dialer that keeps to b, or an error: never one that doesn't.
	Bind(b hop.Base) (chain.Dialer, error)
}

func baseFor(h *configs.Hop) hop.Base {
	return hop.Base{Interface: h.Interface, Source: h.Source, Mark: h.Mark, Congestion: h.TCPCongestion}
}

// baseOf returns the base dialer by which hop i is reached where it stands first, and
// what it is lacking.
func baseOf(c *configs.Client, i int, base chain.Dialer) (d chain.Dialer, lacks, err error) {
	b := baseFor(&c.Hops[i])
	if b.IsZero() {
		return base, nil, nil
	}
	switch from := base.(type) {
	case *net.Dialer:
		d, err = b.Dialer(from)
	case Binder:
		d, err = from.Bind(b)
	default:
		err = errors.New("the base dialer cannot be bound")
	}
	if err != nil || d == nil {
		return nil, nil, c.Errorf(fmt.Sprintf("hop[%d].%s", i, keyOf(b)), "%w", err)
	}
	return d, b.Lacks(), nil
}

// keyOf is the key that a failure to bind is told of.
func keyOf(b hop.Base) string {
	switch {
	case b.Interface != "":
		return "interface"
	case b.Mark != 0:
		return "mark"
	case b.Source.IsValid():
		return "source"
	}
	return "tcp_congestion"
}

// reachOf tells how hop 1 is reached.
func reachOf(h *configs.Hop, lacks error) string {
	if h.OverUnix() {
		return h.URL.Path + ", a socket of this machine"
	}
	said := []string{h.URL.Host}
	if h.Interface != "" {
		said = append(said, "by interface "+h.Interface)
	}
	if h.Source.IsValid() {
		said = append(said, "from "+h.Source.String())
	}
	if h.Mark != 0 {
		said = append(said, fmt.Sprintf("with mark %d", h.Mark))
	}
	if len(said) == 1 {
		said = append(said, "directly")
	}
	if net.ParseIP(h.URL.Hostname()) == nil {
		said = append(said, "its name resolved by this system")
	}
	if lacks != nil {
		said = append(said, lacks.Error())
	}
	return strings.Join(said, ", ")
}

// bound returns h, reached by d in place of the base.
func bound(h chain.Hop, d chain.Dialer) chain.Hop {
	wrap := h.Wrap
	h.Wrap = func(next chain.Dialer) (chain.Dialer, error) { return wrap(binding{next, d}) }
	return h
}

// A binding is the way to a hop that tells the base at its end what to dial by.
type binding struct {
	next, base chain.Dialer
}

type baseKey struct{} // of a binding's base

func (b binding) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return b.next.DialContext(context.WithValue(ctx, baseKey{}, b.base), network, addr)
}

// Carries is of chain.Carrier.
func (b binding) Carries(network string) bool {
	return chain.Carries(b.base, network) && chain.Carries(b.next, network)
}

// boundBase is the base of a chain, whose first hop may want another one: each of
// several first hops (a group's members) is reached in its way.
type boundBase struct{ chain.Dialer }

func (b boundBase) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if d, ok := ctx.Value(baseKey{}).(chain.Dialer); ok {
		return d.DialContext(ctx, network, addr)
	}
	return b.Dialer.DialContext(ctx, network, addr)
}

// Carries is of chain.Carrier.
func (b boundBase) Carries(network string) bool { return chain.Carries(b.Dialer, network) }
