package local

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/socks"
)

// udpEcho is a target that answers datagrams with what they said.
func udpEcho(t testing.TB) net.Addr {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
	t.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr()
}

// notTo is the system's dialer, and fails the test when it is asked for addr.
type notTo struct {
	t    *testing.T
	addr string
}

func (d notTo) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if addr == d.addr {
		return testnet.NoDial(d.t).DialContext(ctx, network, addr)
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

func (notTo) Carries(string) bool { return true }

// TestUDP has a datagram go by the rules: through hops that carry it, or direct, or
// nowhere.
func TestUDP(t *testing.T) {
	target := udpEcho(t)
	far := socksServer(t, &net.Dialer{})
	near := socksServer(t, notTo{t, target.String()})
	base := notTo{t, target.String()}
	hop := func(name, scheme, addr string) string {
		return fmt.Sprintf("[[hop]]\nname = %q\nurl = \"%s://%s\"\n", name, scheme, addr)
	}
	all := "[[listen]]\naddress = \"127.0.0.1:0\"\n" + hop("near", "socks5", near) + hop("far", "socks5", far) + hop("four", "socks4a", far) +
		"[[chain]]\nname = \"both\"\nhops = [\"near\", \"far\"]\n[[chain]]\nname = \"one\"\nhops = [\"far\"]\n[[chain]]\nname = \"old\"\nhops = [\"near\", \"four\"]\n"
	for to, test := range map[string]struct {
		base    chain.Dialer
		refused bool
	}{
		"one": {base, false}, "both": {base, false}, "direct": {&net.Dialer{}, false}, "old": {base, true}, "block": {base, true},
	} {
		t.Run(to, func(t *testing.T) {
			addr := serve(t, all+fmt.Sprintf("[[route]]\nto = %q\n", to), test.base)
			app, err := chain.New(&net.Dialer{}, socks.Hop5(addr, socks.HopOptions{}))
			if err != nil {
				t.Fatal(err)
			}
			c, err := app.DialContext(t.Context(), "udp", target.String())
			if test.refused {
				if err == nil || !strings.Contains(err.Error(), "command not supported") {
					t.Errorf("not refused: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for _, size := range []int{5, 0, 60000} {
				want := strings.Repeat("x", size)
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err := io.WriteString(c, want); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 64<<10)
				if n, err := c.Read(buf); err != nil || string(buf[:n]) != want {
					t.Errorf("%d bytes came back of %d, %v", n, size, err)
				}
			}
		})
	}
}
