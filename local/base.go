package local

import (
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

// baseOf returns the base dialer of the chains that begin with hop i, and what it
// is lacking.
func baseOf(c *configs.Client, i int, base chain.Dialer) (d chain.Dialer, lacks, err error) {
	h := &c.Hops[i]
	b := hop.Base{Interface: h.Interface, Source: h.Source, Mark: h.Mark, Congestion: h.TCPCongestion}
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
