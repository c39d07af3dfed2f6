package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/datagram"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// A scout routes everything to a dialer, and says what that carries.
type scout struct{ chain.Dialer }

func (s scout) Route(context.Context, relay.Request) relay.Decision {
	return relay.Decision{Dialer: s.Dialer, Via: "test"}
}

func (s scout) MayCarry(_ context.Context, q relay.Request) bool {
	return chain.Carries(s.Dialer, q.Network)
}

// onHost has the sockets of a server's associations on n.
func onHost(n *testnet.Network) func(context.Context, string) (PacketSocket, error) {
	return func(_ context.Context, host string) (PacketSocket, error) { return n.Host(host).ListenPacket(":0") }
}

// udpHop puts a SOCKS5 server at host of n, which dials from there.
func udpHop(t *testing.T, n *testnet.Network, host string) chain.Hop {
	t.Helper()
	s := &Server{Relay: &relay.Relay{Router: scout{n.Host(host)}}, ListenPacket: onHost(n)}
	listen(t, n, host, ":1080", serving(t, s))
	return Hop5(host+":1080", HopOptions{})
}

// A replier is the target's end of a flow as a net.Conn: it answers whoever sent last.
type replier struct {
	net.PacketConn
	peer chan net.Addr
}

func (r *replier) Read(p []byte) (int, error) {
	n, from, err := r.ReadFrom(p)
	if err == nil {
		select {
		case <-r.peer:
		default:
		}
		r.peer <- from
	}
	return n, err
}

func (r *replier) Write(p []byte) (int, error) {
	to := <-r.peer
	r.peer <- to
	return r.WriteTo(p, to)
}

func (r *replier) RemoteAddr() net.Addr { return r.LocalAddr() }

func newReplier(c net.PacketConn) *replier { return &replier{c, make(chan net.Addr, 1)} }

// TestUDPConforms runs the suite of datagrams from a hop's flow to a target, through
// one, two and three servers, and over the system's sockets.
func TestUDPConforms(t *testing.T) {
	for hops := range 4 {
		t.Run("hops/"+strconv.Itoa(hops), func(t *testing.T) {
			testnet.TestDatagrams(t, func(t *testing.T) (a, b net.Conn, longest int) {
				if hops == 0 {
					return realFlow(t)
				}
				n := testnet.New()
				var through []chain.Hop
				for i := range hops {
					through = append(through, udpHop(t, n, "192.0.2."+strconv.Itoa(11+i)))
				}
				target, err := n.Host("target.example").ListenPacket(":53")
				must(t, err)
				// A name at the end, so that it goes by as one.
				a, err = newChain(t, n.Host("192.0.2.1"), through...).DialContext(t.Context(), "udp", "target.example:53")
				must(t, err)
				const header4, headerName = 10, 7 + len("target.example")
				return a, newReplier(target), datagram.Max - headerName - (hops-1)*header4
			})
		})
	}
}

// realFlow is one over sockets of the system.
func realFlow(t *testing.T) (a, b net.Conn, longest int) {
	l := testnet.Listen(t)
	acceptAll(t, l, serving(t, &Server{Relay: &relay.Relay{Router: scout{new(net.Dialer)}}}))
	target, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	a, err = newChain(t, new(net.Dialer), Hop5(l.Addr().String(), HopOptions{})).DialContext(t.Context(), "udp", target.LocalAddr().String())
	must(t, err)
	return a, newReplier(target), datagram.Max - 10
}

func TestUDPEndsWithTheControlConn(t *testing.T) {
	n := testnet.New()
	s := &Server{Relay: &relay.Relay{Router: scout{n.Host("192.0.2.11")}}, ListenPacket: onHost(n)}
	controls := make(chan net.Conn, 1)
	listen(t, n, "192.0.2.11", ":1080", func(c net.Conn) {
		controls <- c
		_ = s.ServeConn(t.Context(), c)
	})
	target, err := n.Host("192.0.2.99").ListenPacket(":53")
	must(t, err)
	defer target.Close()
	c := newChain(t, n.Host("192.0.2.1"), Hop5("192.0.2.11:1080", HopOptions{}))
	conn, err := c.DialContext(t.Context(), "udp", "192.0.2.99:53")
	must(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("x"))
	must(t, err)
	_, _, err = target.ReadFrom(make([]byte, 1))
	must(t, err)
	if s.Relay.Live() != 1 {
		t.Errorf("%d live flows", s.Relay.Live())
	}
	_ = (<-controls).Close()
	if _, err := conn.Read(make([]byte, 1)); chain.Reason(err) != errAssociation.Error() {
		t.Errorf("read %v", err)
	}
	if _, err := conn.Write([]byte("x")); chain.Reason(err) != errAssociation.Error() {
		t.Errorf("wrote, %v", err)
	}
	must(t, s.Relay.Shutdown(t.Context())) // the server's flow ends too
}

// TestUDPErrors: each failure of an association is the hop's, with its phase.
func TestUDPErrors(t *testing.T) {
	base := func(c net.Conn) chain.Dialer { return carrier{always(c)} }
	for name, test := range map[string]struct {
		says  string
		phase chain.Phase
		want  error
	}{
		"no such command": {"\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", chain.PhaseConnect, badCommand},
		"not allowed":     {"\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", chain.PhaseConnect, notAllowed},
		"no port":         {"\x05\x00\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x00", chain.PhaseConnect, errBound},
		"a bad name":      {"\x05\x00\x05\x00\x00\x03\x02a \x00\x50", chain.PhaseConnect, errGarbage},
		"no method":       {"\x05\xff", chain.PhaseAuth, errMethod},
		"hangs up":        {"\x05\x00\x05\x00", chain.PhaseConnect, io.ErrUnexpectedEOF},
	} {
		c := &scripted{segments: segments([]byte(test.says), nil)}
		conn, err := newChain(t, base(c), Hop5("hop:1080", HopOptions{})).DialContext(t.Context(), "udp", "192.0.2.1:53")
		wantFailure(t, conn, err, test.phase, test.want)
		if !c.closed.Load() {
			t.Errorf("%s: the conn is left open", name)
		}
	}
}

// TestUDPIsLearnt: a hop that does not know the command carries no UDP for an hour.
func TestUDPIsLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		asked := listen(t, n, "hop", ":1080", func(c net.Conn) {
			_, _ = io.WriteString(c, "\x05\x00"+no(7))
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		})
		c := newChain(t, n.Host("here"), Hop5("hop:1080", HopOptions{}))
		if !c.Carries("udp") {
			t.Error("a hop that was not asked yet carries no UDP")
		}
		conn, err := c.DialContext(t.Context(), "udp", "192.0.2.1:53")
		wantFailure(t, conn, err, chain.PhaseConnect, badCommand)
		if c.Carries("udp") || !c.Carries("tcp") || asked.Load() != 1 {
			t.Error("it is not learnt")
		}
		time.Sleep(time.Hour)
		if !c.Carries("udp") {
			t.Error("it is not asked again")
		}
	})
}

// carrier says that it carries UDP.
type carrier struct{ chain.Dialer }

func (carrier) Carries(string) bool { return true }

// TestUDPRelayAddr: where a hop takes datagrams.
func TestUDPRelayAddr(t *testing.T) {
	for name, test := range map[string]struct{ bound, want string }{
		"an address":       {"\x01\xc0\x00\x02\x07\x04\x38", "192.0.2.7:1080"},
		"none":             {"\x01\x00\x00\x00\x00\x04\x38", "hop.example:1080"},
		"none of IPv6":     {"\x04" + string(make([]byte, 16)) + "\x04\x38", "hop.example:1080"},
		"an empty name":    {"\x03\x00\x04\x38", "hop.example:1080"},
		"a name":           {"\x03\x05relay\x04\x38", "relay:1080"},
		"an IPv6 address":  {"\x04\x20\x01\x0d\xb8" + string(make([]byte, 11)) + "\x01\x04\x38", "[2001:db8::1]:1080"},
		"IPv4 within IPv6": {"\x04" + string(make([]byte, 10)) + "\xff\xff\xc0\x00\x02\x07\x04\x38", "192.0.2.7:1080"},
	} {
		var dialled string
		c := &scripted{segments: segments([]byte("\x05\x00\x05\x00\x00"+test.bound), nil)}
		base := carrier{chain.DialerFunc(func(_ context.Context, network, addr string) (net.Conn, error) {
			if network == "tcp" {
				return c, nil
			}
			dialled = addr
			return nil, errors.New("no")
		})}
		_, err := newChain(t, base, Hop5("hop.example:9", HopOptions{})).DialContext(t.Context(), "udp", "192.0.2.1:53")
		if err == nil || dialled != test.want || !c.closed.Load() {
			t.Errorf("%s: dialled %q, want %q; %v", name, dialled, test.want, err)
		}
		want := hello + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"
		if got := string(c.written); got != want {
			t.Errorf("%s: wrote %q", name, got)
		}
	}
}

// TestUDPReplies: what a hop may answer for a target.
func TestUDPReplies(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for name, test := range map[string]struct {
		to, from target
		good     bool
	}{
		"the address":              {target{ip: four, port: 53}, target{ip: four, port: 53}, true},
		"another address":          {target{ip: four, port: 53}, target{ip: six, port: 53}, false},
		"another port":             {target{ip: four, port: 53}, target{ip: four, port: 54}, false},
		"a name for an address":    {target{ip: four, port: 53}, target{name: "a", port: 53}, false},
		"an address of the name":   {target{name: "a", port: 53}, target{ip: six, port: 53}, true},
		"another port of the name": {target{name: "a", port: 53}, target{ip: six, port: 54}, false},
		"the name":                 {target{name: "a.example", port: 53}, target{name: "A.Example", port: 53}, true},
		"another name":             {target{name: "a", port: 53}, target{name: "b", port: 53}, false},
	} {
		if f := (&hopFlow{to: test.to}); f.isFrom(test.from) != test.good {
			t.Errorf("%s: not %t", name, test.good)
		}
	}
}

func FuzzDatagram(f *testing.F) {
	for _, seed := range []string{
		"\x00\x00\x00\x01\xc0\x00\x02\x01\x00\x35data", "\x00\x00\x00\x03\x0bexample.com\x00\x35", "\x00\x00\x00\x04" + string(make([]byte, 15)) + "\x01\x00\x35x",
		"\x00\x00\x01\x01\xc0\x00\x02\x01\x00\x35", "\x00\x00\x00\x03\x00\x00\x35", "\x00\x00\x00\x03\xffa", "\x00\x00\x00\x02\x00\x35", "\x00\x00\x00\x01\xc0\x00\x02\x01\x00\x00",
		"\x00\x00\x00\x04" + string(make([]byte, 10)) + "\xff\xff\xc0\x00\x02\x01\x00\x35", "", "\x00\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		header, data, to, err := parseDatagram(b)
		if err != nil {
			if header != nil || data != nil {
				t.Errorf("%q: an error, and yet %q, %q", b, header, data)
			}
			return
		}
		if string(header)+string(data) != string(b) || len(header) > maxHeader || b[2] != 0 {
			t.Fatalf("%q came apart as %q and %q", b, header, data)
		}
		if _, err := parseTarget(to.String()); err != nil {
			t.Fatalf("%q: %q is no target: %v", b, to, err)
		}
		again := append(to.appendHeader(nil), data...)
		header2, data2, to2, err := parseDatagram(again)
		if err != nil || to2 != to || string(data2) != string(data) || len(header2) > len(header) {
			t.Fatalf("%q: %v became %v, %v", b, to, to2, err)
		}
	})
}
