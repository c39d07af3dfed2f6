package bench

import (
	"io"
	"net"
	"net/netip"

	"github.com/byway-proxy/byway/chain"
)

// leastAt is the variable of the environment that makes a process of these tests the least
// relay, at the address that is its value.
const leastAt = "BYWAY_BENCH_LEAST"

// least is the least that a SOCKS5 relay in Go can do: it takes a greeting and a request for an
// IPv4 address to come whole and to be right, dials, and runs two io.Copy, which splice. It has no limits, no
// deadlines and no log. What it costs is the kernel's and Go's.
func least(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			var b [32]byte
			if _, err := c.Read(b[:]); err != nil {
				return
			}
			_, _ = c.Write([]byte{5, 0})
			if n, err := c.Read(b[:]); err != nil || n != 10 {
				return
			}
			to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[8])<<8|uint16(b[9]))
			far, err := net.Dial("tcp", to.String())
			if err != nil {
				return
			}
			defer far.Close()
			_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = io.Copy(far, c)
				_ = chain.CloseWrite(far)
			}()
			_, _ = io.Copy(c, far)
			_ = chain.CloseWrite(c)
			<-done
		}()
	}
}
