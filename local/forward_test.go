package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/datagram"
	"github.com/byway-proxy/byway/internal/sockets"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// forwarding is a configuration with one forward, and rules that block everything.
func forwarding(hop, target, to, more string) string {
	return strings.NewReplacer("[[listen]]\naddress = \"127.0.0.1:0\"\n", fmt.Sprintf(
		"[[forward]]\nlisten = \"127.0.0.1:0\"\ntarget = %q\nto = %q\n%s\n", target, to, more),
		"to = \"c\"\n[timeouts]", "to = \"block\"\n[timeouts]").Replace(through(hop))
}

func TestForward(t *testing.T) {
	hop := socksServer(t, echo(t))
	addr := serve(t, forwarding(hop, "target.example:7", "c", ""), testnet.Only(t, &net.Dialer{}, hop))
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	checkEcho(t, c)
}

func TestForwardDirect(t *testing.T) {
	l := testnet.Listen(t)
	go testnet.Echo(l)
	target := l.Addr().String()
	addr := serve(t, forwarding("192.0.2.1:1", target, "direct", ""), testnet.Only(t, &net.Dialer{}, target))
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	checkEcho(t, c)
}

// TestForwardFails resets the client's conn: an end in good order would look like
// an answer. Nothing but hop 1 is dialled.
func TestForwardFails(t *testing.T) {
	l := testnet.Listen(t)
	hop := l.Addr().String()
	_ = l.Close()
	addr := serve(t, forwarding(hop, "target.example:7", "c", ""), testnet.Only(t, &net.Dialer{}, hop))
	n := 0
	c, err := net.Dial("tcp", addr) // which may be reset before it is back
	if err == nil {
		defer c.Close()
		n, err = c.Read(make([]byte, 1))
	}
	if n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d, %v", n, err)
	}
}

func TestForwardUDP(t *testing.T) {
	target := udpEcho(t).String()
	for to, base := range map[string]chain.Dialer{"direct": &net.Dialer{}, "c": notTo{t, target}} {
		t.Run(to, func(t *testing.T) {
			hop := socksServer(t, &net.Dialer{})
			testForwardUDP(t, serve(t, forwarding(hop, target, to, `network = "udp"`), base))
		})
	}
}

func testForwardUDP(t *testing.T, addr string) {
	var clients []net.Conn
	for range 3 {
		c, err := net.Dial("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	for round := range 2 {
		for i, c := range clients {
			want := fmt.Sprintf("client %d, round %d", i, round)
			if _, err := io.WriteString(c, want); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range clients {
			want := fmt.Sprintf("client %d, round %d", i, round)
			buf := make([]byte, 100)
			if n, err := c.Read(buf); err != nil || string(buf[:n]) != want {
				t.Errorf("read %q, %v; want %q", buf[:n], err, want)
			}
		}
	}
}

// TestForwardUDPGoesNoOtherWay: where the chain can't carry datagrams, nothing starts.
func TestForwardUDPGoesNoOtherWay(t *testing.T) {
	config := strings.Replace(forwarding("192.0.2.1:1", "192.0.2.2:53", "c", `network = "udp"`), "socks5://", "http://", 1)
	_, err := New(parse(t, config), &net.Dialer{}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), `byway.toml:5:6: forward[0].to: "c" can't carry UDP`) {
		t.Errorf("error %v", err)
	}
}

// lab is a forward at 192.0.2.1:53 on the network n, over dialer.
func lab(t *testing.T, n *testnet.Network, dialer chain.Dialer, trace *relay.Trace) (u *udpForward, done func()) {
	t.Helper()
	socket, err := n.Host("192.0.2.1").ListenPacket(":53")
	if err != nil {
		t.Fatal(err)
	}
	q := relay.Request{Network: "udp", Addr: "target.example:53", Decided: &relay.Decision{Dialer: dialer}}
	u = newUDPForward(socket, &q, &relay.Relay{Trace: trace})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		u.serve(ctx)
	}()
	return u, func() {
		_ = u.Close()
		<-ended
		cancel()
		u.wg.Wait()
	}
}

func clientOf(t *testing.T, n *testnet.Network, host string) net.Conn {
	t.Helper()
	c, err := n.Host(host).DialContext(t.Context(), "udp", "192.0.2.1:53")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (u *udpForward) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.flows)
}

// TestFlowConforms has the client's end of a flow pass the suite.
func TestFlowConforms(t *testing.T) {
	testnet.TestDatagrams(t, func(t *testing.T) (a, b net.Conn, longest int) {
		n := testnet.New()
		socket, err := n.Host("192.0.2.1").ListenPacket(":53")
		if err != nil {
			t.Fatal(err)
		}
		far := clientOf(t, n, "192.0.2.9")
		u := newUDPForward(socket, &relay.Request{}, &relay.Relay{})
		f := &udpFlow{of: u, client: sockets.Caller{Addr: netip.MustParseAddrPort(far.LocalAddr().String())}}
		u.flows[f.client] = f
		done := make(chan struct{})
		go func() {
			defer close(done)
			u.serve(t.Context())
		}()
		t.Cleanup(func() {
			_ = socket.Close()
			<-done
		})
		return f, far, datagram.Max
	})
}

// TestFlowEndsWhenIdle: a minute without a datagram, and the flow is gone; the next
// datagram makes a new one.
func TestFlowEndsWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		dials := 0
		u, done := lab(t, n, chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			dials++
			near, far := testnet.DatagramPipe(0)
			go func() {
				defer far.Close()
				_, _, _ = relay.CopyDatagrams(far, far, 10*time.Minute) // an echo
			}()
			return near, nil
		}), nil)
		defer done()
		c := clientOf(t, n, "192.0.2.9")
		defer c.Close()
		for want := range 2 {
			_, _ = io.WriteString(c, "x")
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(59 * time.Second)
			if u.count() != 1 || dials != want+1 {
				t.Errorf("before the limit: %d flows, %d dials", u.count(), dials)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if u.count() != 0 {
				t.Errorf("after the limit: %d flows", u.count())
			}
		}
		time.Sleep(time.Hour) // the echoes end
	})
}

// TestFlowsAreBounded drops the datagrams of clients beyond the limit, and tells.
func TestFlowsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		told := 0
		hang := chain.DialerFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		u, done := lab(t, n, hang, &relay.Trace{BadClient: func(_ string, err error) {
			if !errors.Is(err, errFlows) {
				t.Error(err)
			}
			told++
		}})
		defer done()
		for range maxFlows + 3 {
			c := clientOf(t, n, "192.0.2.9")
			_, _ = io.WriteString(c, "x")
			_ = c.Close()
		}
		synctest.Wait()
		if u.count() != maxFlows || told != 3 {
			t.Errorf("%d flows, %d were told of", u.count(), told)
		}
	})
}

// TestFailedFlowIsNotDialledAtOnce: a client that goes on sending makes one dial a second.
func TestFailedFlowIsNotDialledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		dials := 0
		_, done := lab(t, n, chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			dials++
			return nil, os.ErrPermission
		}), nil)
		defer done()
		c := clientOf(t, n, "192.0.2.9")
		defer c.Close()
		for range 100 {
			_, _ = io.WriteString(c, "x")
			time.Sleep(100 * time.Millisecond)
		}
		if dials < 9 || dials > 10 {
			t.Errorf("%d dials in 10 s", dials)
		}
	})
}
