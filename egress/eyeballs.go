package egress

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// stagger is the time between the starts of two attempts (RFC 8305 §5).
const stagger = 250 * time.Millisecond

// interleave alternates the address families, beginning with the one that the
// resolver prefers, and keeps the order within each (RFC 8305 §4).
func interleave(addrs []netip.Addr) []netip.Addr {
	if len(addrs) == 0 {
		return nil
	}
	var first, second []netip.Addr
	for _, a := range addrs {
		if a.Unmap().Is4() == addrs[0].Unmap().Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	out := make([]netip.Addr, 0, len(addrs))
	for len(first) > 0 || len(second) > 0 {
		if len(first) > 0 {
			out, first = append(out, first[0]), first[1:]
		}
		if len(second) > 0 {
			out, second = append(out, second[0]), second[1:]
		}
	}
	return out
}

// race dials the targets in order, the next one when stagger has passed or the
// last has failed, and returns the first conn. When all fail, it returns the
// error of the first, which was the preferred one. targets must not be empty.
func race(ctx context.Context, d chain.Dialer, network string, targets []string) (net.Conn, error) {
	if len(targets) == 1 {
		return d.DialContext(ctx, network, targets[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		i    int
		conn net.Conn
		err  error
	}
	results := make(chan result, len(targets))
	started, ended := 0, 0
	start := func() {
		i := started
		started++
		go func() {
			conn, err := d.DialContext(ctx, network, targets[i])
			results <- result{i, conn, err}
		}()
	}
	start()
	errs := make([]error, len(targets))
	next := time.NewTimer(stagger)
	defer next.Stop()
	for ended < len(targets) {
		select {
		case r := <-results:
			ended++
			if r.err == nil {
				// Those still under way are cancelled; one that made it is closed.
				go func(left int) {
					for range left {
						if late := <-results; late.conn != nil {
							_ = late.conn.Close()
						}
					}
				}(started - ended)
				return r.conn, nil
			}
			errs[r.i] = r.err
			if started == ended && started < len(targets) {
				start()
				next.Reset(stagger)
			}
		case <-next.C:
			if started < len(targets) {
				start()
				next.Reset(stagger)
			}
		}
	}
	return nil, errs[0]
}
