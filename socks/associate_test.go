package socks

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

const (
	udpServer = "192.0.2.11"
	udpClient = "192.0.2.1"
	udpTarget = "192.0.2.99"
)

// An udpRig is a server on a testnet, and one association with it.
type udpRig struct {
	t       *testing.T
	n       *testnet.Network
	server  *Server
	control net.Conn
	sock    *testnet.Socket // the client's
	relay   net.Addr        // where the server takes datagrams
	served  chan error
}

// newUDPRig asks for an association, with that port in the request; adjust may
// change the server before.
func newUDPRig(t *testing.T, port uint16, adjust func(*Server)) *udpRig {
	t.Helper()
	n := testnet.New()
	r := &udpRig{t: t, n: n, served: make(chan error, 1)}
	r.server = &Server{Relay: &relay.Relay{Router: scout{n.Host(udpServer)}}, ListenPacket: onHost(n)}
	if adjust != nil {
		adjust(r.server)
	}
	listen(t, n, udpServer, ":1080", func(c net.Conn) { r.served <- r.server.ServeConn(t.Context(), c) })
	var err error
	r.control, err = n.Host(udpClient).DialContext(t.Context(), "tcp", udpServer+":1080")
	must(t, err)
	_, err = r.control.Write([]byte(hello + "\x05\x03\x00\x01\x00\x00\x00\x00" + string([]byte{byte(port >> 8), byte(port)})))
	must(t, err)
	reply := make([]byte, 2+10)
	_, err = io.ReadFull(r.control, reply)
	must(t, err)
	if got := string(reply[:8]); got != "\x05\x00\x05\x00\x00\x01\xc0\x00" {
		t.Fatalf("the server answered %q", reply)
	}
	bound := takeTarget(reply[5:])
	if bound.ip.String() != udpServer {
		t.Errorf("the socket is bound to %v, the client came to %s", bound.ip, udpServer)
	}
	r.relay = testnet.Addr(bound.String())
	local := ":0"
	if port != 0 {
		local = fmt.Sprintf(":%d", port)
	}
	r.sock = r.socket(udpClient, local)
	return r
}

func (r *udpRig) socket(host, port string) *testnet.Socket {
	r.t.Helper()
	s, err := r.n.Host(host).ListenPacket(port)
	must(r.t, err)
	return s
}

// end ends the association by its conn.
func (r *udpRig) end(socks ...*testnet.Socket) {
	r.t.Helper()
	must(r.t, r.control.Close())
	if err := <-r.served; err != nil {
		r.t.Errorf("the association ended with %v", err)
	}
	if n := r.server.Relay.Live(); n != 0 {
		r.t.Errorf("%d flows outlive it", n)
	}
	for _, s := range append(socks, r.sock) {
		must(r.t, s.Close())
	}
}

func (r *udpRig) send(from *testnet.Socket, datagram string) {
	r.t.Helper()
	_, err := from.WriteTo([]byte(datagram), r.relay)
	must(r.t, err)
}

// received returns what s has got once all is quiet, or "".
func received(t *testing.T, s *testnet.Socket) (data string, from net.Addr) {
	t.Helper()
	synctest.Wait()
	buf := make([]byte, maxRead)
	must(t, s.SetReadDeadline(time.Now().Add(time.Nanosecond)))
	n, from, err := s.ReadFrom(buf)
	if err != nil && !isTimeout(err) {
		t.Fatal(err)
	}
	return string(buf[:n]), from
}

// to4 is the header for udpTarget:53.
const to4 = "\x00\x00\x00\x01\xc0\x00\x02\x63\x00\x35"

// TestAssociate is RFC 1928 §7 step by step.
func TestAssociate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUDPRig(t, 0, nil)
		target, named, six := r.socket(udpTarget, ":53"), r.socket("name.example", ":53"), r.socket("2001:db8::9", ":53")
		stranger, other := r.socket("192.0.2.66", ":0"), r.socket(udpClient, ":0")

		r.send(stranger, to4+"first, from elsewhere")
		if got, _ := received(t, target); got != "" {
			t.Errorf("a stranger's %q went through", got)
		}
		for what, bad := range map[string]string{
			"FRAG 1": "\x00\x00\x01" + to4[3:] + "x", "FRAG 0x81": "\x00\x00\x81" + to4[3:] + "x", "nothing": "", "a byte": "\x00",
			"no address": "\x00\x00\x00", "address type 2": "\x00\x00\x00\x02" + to4[4:], "half an address": to4[:7], "no port": to4[:8],
			"port 0": to4[:8] + "\x00\x00x", "an empty name": "\x00\x00\x00\x03\x00\x00\x35x", "half a name": "\x00\x00\x00\x03\x0cname",
			"a bad name": "\x00\x00\x00\x03\x03a/b\x00\x35x", "half of IPv6": "\x00\x00\x00\x04" + strings.Repeat("\x20", 12),
		} {
			r.send(other, bad) // not even the port is learnt from it
			if got, _ := received(t, target); got != "" {
				t.Errorf("%s: %q went through", what, got)
			}
		}
		for _, test := range []struct {
			header string
			target *testnet.Socket
			data   string
		}{
			{to4, target, "hello"},
			{to4, target, ""},
			{to4, target, strings.Repeat("x", 65507-10)},
			{"\x00\x00\x00\x03\x0cname.example\x00\x35", named, "by name"},
			{"\x00\x00\x00\x04\x20\x01\x0d\xb8" + string(make([]byte, 11)) + "\x09\x00\x35", six, "IPv6"},
			{to4, target, "again"},
		} {
			r.send(r.sock, test.header+test.data)
			got, from := received(t, test.target)
			if got != test.data || from == nil {
				t.Fatalf("the target got %d bytes, %.20q from %v; want %d", len(got), got, from, len(test.data))
			}
			_, err := test.target.WriteTo([]byte("re: "+test.data[:min(9, len(test.data))]), from)
			must(t, err)
			if got, from := received(t, r.sock); got != test.header+"re: "+test.data[:min(9, len(test.data))] || from.String() != r.relay.String() {
				t.Errorf("the client got %q from %v", got, from)
			}
		}
		r.send(other, to4+"by another port")
		if got, _ := received(t, target); got != "" {
			t.Errorf("%q came by a port that is not the client's", got)
		}
		if got := r.server.Relay.Live(); got != 3 {
			t.Errorf("%d flows, want one for each target", got)
		}
		r.end(target, named, six, stranger, other)
		if _, err := r.n.Host(udpServer).ListenPacket(r.relay.String()[len(udpServer):]); err != nil {
			t.Errorf("the socket outlives the conn: %v", err)
		}
	})
}

// TestAssociatePort: a port in the request binds, and the first datagram does not.
func TestAssociatePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUDPRig(t, 5000, nil)
		target, other := r.socket(udpTarget, ":53"), r.socket(udpClient, ":5001")
		r.send(other, to4+"x")
		if got, _ := received(t, target); got != "" {
			t.Errorf("%q came by a port that the request did not name", got)
		}
		r.send(r.sock, to4+"y")
		if got, _ := received(t, target); got != "y" {
			t.Errorf("the target got %q", got)
		}
		r.end(target, other)
	})
}

// TestAssociateUsers: each flow is its user's.
func TestAssociateUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		asked := make(chan relay.Request, 1)
		s := &Server{
			Users: users(t, map[string]string{"ann": "secret"}), ListenPacket: onHost(n),
			Relay: &relay.Relay{Router: scout{n.Host(udpServer)}, Trace: &relay.Trace{Opened: func(q relay.Request, _ relay.Decision, _ time.Duration) { asked <- q }}},
		}
		s.Request.Listener, s.Request.EarlyReply = "here:1080", true
		listen(t, n, udpServer, ":1080", serving(t, s))
		hop := Hop5(udpServer+":1080", HopOptions{User: "ann", Password: "secret"})
		c, err := newChain(t, n.Host(udpClient), hop).DialContext(t.Context(), "udp", udpTarget+":53")
		must(t, err)
		_, err = c.Write([]byte("x"))
		must(t, err)
		q := <-asked
		client, _, _ := net.SplitHostPort(q.Client.String())
		if q.User != "ann" || client != udpClient || q.Listener != "here:1080" || q.Network != "udp" || q.Addr != udpTarget+":53" {
			t.Errorf("%+v", q)
		}
		must(t, c.Close())
		_, err = newChain(t, n.Host(udpClient), Hop5(udpServer+":1080", HopOptions{User: "ann", Password: "wrong"})).
			DialContext(t.Context(), "udp", udpTarget+":53")
		wantFailure(t, nil, err, chain.PhaseAuth, errRejected)
	})
}

// TestAssociateTargetsAreConnected: nobody but the target answers.
func TestAssociateTargetsAreConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUDPRig(t, 0, nil)
		target, stranger := r.socket(udpTarget, ":53"), r.socket(udpTarget, ":54")
		r.send(r.sock, to4+"x")
		_, from := received(t, target)
		_, err := stranger.WriteTo([]byte("spoof"), from)
		must(t, err)
		if got, _ := received(t, r.sock); got != "" {
			t.Errorf("the client got %q", got)
		}
		r.end(target, stranger)
	})
}
