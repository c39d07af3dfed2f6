// Package eyeballs connects to a host that has several addresses: "Happy Eyeballs"
// (RFC 8305).
package eyeballs

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// stagger is the time between the starts of two attempts (RFC 8305 §5).
const stagger = 250 * time.Millisecond

// Known returns what [Dial] takes where all addresses are known beforehand.
func Known(addrs []netip.Addr) <-chan []netip.Addr {
	found := make(chan []netip.Addr, 1)
	found <- addrs
	close(found)
	return found
}

// Dial dials the addresses that come by found at a port, until it is closed, which it is by the
// end of ctx. The next one is dialled when 250 ms have passed or the last has failed, of the two
// families in turn, beginning with the first address that comes (RFC 8305 §4 and 5). It returns
// the first conn. When all fail, it returns the error of the first, which was the preferred one;
// if there are none, that of ctx, which may be nil.
func Dial(ctx context.Context, d chain.Dialer, network, port string, found <-chan []netip.Addr) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &race{
		dial: func(a netip.Addr) (net.Conn, error) {
			return d.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
		},
		results: make(chan result),
		over:    make(chan struct{}),
	}
	defer close(r.over)
	return r.run(ctx, found)
}

// A race is what Dial knows.
type race struct {
	dial    func(netip.Addr) (net.Conn, error)
	results chan result
	over    chan struct{} // nobody takes results any more

	waiting  []netip.Addr
	underWay int
	last4    bool // the family of the last one that was started
	started  bool
	first    error // of the first that was started
}

type result struct {
	first bool
	conn  net.Conn
	err   error
}

func (r *race) run(ctx context.Context, found <-chan []netip.Addr) (net.Conn, error) {
	next := time.NewTimer(stagger)
	defer next.Stop()
	due := true // an attempt, as soon as there is an address
	over := ctx.Done()
	for found != nil || len(r.waiting) > 0 || r.underWay > 0 {
		if due && len(r.waiting) > 0 {
			r.start()
			due = false
			next.Reset(stagger)
		}
		select {
		case more, ok := <-found:
			if !ok {
				found = nil
			}
			r.waiting = append(r.waiting, more...)
		case got := <-r.results:
			r.underWay--
			if got.err == nil {
				return got.conn, nil
			}
			if got.first {
				r.first = got.err
			}
			due = true
		case <-next.C:
			due = true
		case <-over: // those under way tell, in their own words
			r.waiting, over = nil, nil
		}
	}
	if r.first == nil {
		return nil, ctx.Err()
	}
	return nil, r.first
}

// start starts the next attempt.
func (r *race) start() {
	i := r.next()
	a := r.waiting[i]
	r.waiting = append(r.waiting[:i:i], r.waiting[i+1:]...)
	first := !r.started
	r.started, r.last4 = true, a.Unmap().Is4()
	r.underWay++
	go func() {
		conn, err := r.dial(a.Unmap())
		select {
		case r.results <- result{first, conn, err}:
		case <-r.over:
			if conn != nil {
				_ = conn.Close()
			}
		}
	}()
}

// next returns the index of the address to try next: one of the family that was not tried last.
func (r *race) next() int {
	for i, a := range r.waiting {
		if !r.started || a.Unmap().Is4() != r.last4 {
			return i
		}
	}
	return 0
}
