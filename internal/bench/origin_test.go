package bench

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

// What the first byte of a tunnel asks of the origin.
const (
	echo = 'E'
	down = 'D' // to send without end
	up   = 'U' // to take all
)

// origin is the target of all tunnels.
type origin struct {
	l    net.Listener
	addr netip.AddrPort
	took atomic.Int64 // bytes of uploads
	wg   sync.WaitGroup
}

func newOrigin(t testing.TB, l net.Listener) *origin {
	t.Helper()
	o := &origin{l: l, addr: l.Addr().(*net.TCPAddr).AddrPort()}
	o.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o.wg.Go(func() {
				defer c.Close()
				o.serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		o.wg.Wait()
	})
	return o
}

func (o *origin) serve(c net.Conn) {
	var buf [64]byte
	if _, err := io.ReadFull(c, buf[:1]); err != nil {
		return
	}
	switch buf[0] {
	case echo:
		for {
			n, err := c.Read(buf[:])
			if err != nil {
				return
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	case down:
		for buf := make([]byte, bulkSize); ; {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	case up:
		for buf := make([]byte, bulkSize); ; {
			n, err := c.Read(buf)
			o.took.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
}

// socksServer serves byway's SOCKS5 with the rule direct in this process: a neutral hop.
func socksServer(t testing.TB, l net.Listener, base chain.Dialer) {
	t.Helper()
	s := &socks.Server{Relay: &relay.Relay{Router: route.Table{{To: base, Via: "direct"}}}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _ = s.ServeConn(context.Background(), c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		_ = s.Relay.Close()
		wg.Wait()
	})
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
