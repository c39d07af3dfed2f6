//go:build interop

package interop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// An association is UDP ASSOCIATE (RFC 1928 §7) as a client has it.
type association struct {
	control net.Conn
	relay   *net.UDPAddr
	sock    *net.UDPConn
}

// associate asks proxy for one; port is whence the client says it will send, or 0.
// The client's socket is at ip.
func associate(proxy, ip string, port uint16) (*association, error) {
	c, err := net.DialTimeout("tcp", proxy, dialLimit)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(dialLimit))
	got, err := ask(c, []byte{5, 1, 0}, 2)
	if err == nil {
		got, err = ask(c, binary.BigEndian.AppendUint16([]byte{5, 3, 0, 1, 0, 0, 0, 0}, port), 10)
	}
	if err == nil && got[1] != 0 {
		err = replyError(got[1])
	}
	if err == nil && got[3] != 1 {
		err = fmt.Errorf("a relay of address type %d", got[3])
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	a := &association{control: c, relay: &net.UDPAddr{IP: got[4:8], Port: int(binary.BigEndian.Uint16(got[8:]))}}
	a.sock, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip), Port: int(port)})
	return a, err
}

func (a *association) close() {
	_ = a.control.Close()
	_ = a.sock.Close()
}

// header is that of a datagram to a target.
func header(frag byte, target net.Addr) []byte {
	u := target.(*net.UDPAddr)
	h := []byte{0, 0, frag}
	if ip := u.IP.To4(); ip != nil {
		h = append(append(h, 1), ip...)
	} else {
		h = append(append(h, 4), u.IP...)
	}
	return binary.BigEndian.AppendUint16(h, uint16(u.Port))
}

func (a *association) send(t *testing.T, from *net.UDPConn, b []byte) {
	t.Helper()
	if _, err := from.WriteToUDP(b, a.relay); err != nil {
		t.Fatal(err)
	}
}

// answer returns the next datagram's header and data.
func (a *association) answer(t *testing.T, size int) (head, data []byte) {
	t.Helper()
	buf := make([]byte, 64<<10)
	must(t, a.sock.SetReadDeadline(time.Now().Add(dialLimit)))
	n, from, err := a.sock.ReadFromUDP(buf)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	if from.String() != a.relay.String() || n < size {
		t.Fatalf("%d bytes from %v", n, from)
	}
	return buf[:n-size], buf[n-size : n]
}

// answerer is a target that says datagrams back, from an address of this machine.
func answerer(t *testing.T, ip string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFromUDP(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDP(buf[:n], from)
		}
	}()
	return c
}

// bywayPeer is byway's own listener as a hop, whose rule says direct.
func bywayPeer(t *testing.T) peer {
	b := runByway(t, "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nto = \"direct\"\n", nil)
	return peer{name: "byway", scheme: "socks5", addr: b.addr}
}

// TestUDP checks RFC 1928 §7 from outside, through chains of servers by others and
// of our own.
func TestUDP(t *testing.T) {
	d, derr := dante()
	second, serr := dante2()
	own := bywayPeer(t)
	for name, peers := range map[string][]peer{
		"dante": {d}, "dante>dante": {d, second}, "byway": {own}, "dante>byway": {d, own}, "byway>dante": {own, d}, "byway>byway>dante": {own, own, d},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(name, "dante") {
				need(t, d, derr)
				need(t, second, serr)
			}
			b := runChain(t, peers...)
			checkUDP(t, b.addr, strings.HasSuffix(name, "byway"))
		})
	}
	t.Run("direct", func(t *testing.T) { checkUDP(t, own.addr, true) })
}

// checkUDP makes the checks at proxy. six is whether IPv6 targets are reached there.
func checkUDP(t *testing.T, proxy string, six bool) {
	target, second := answerer(t, "127.0.0.1"), answerer(t, "127.0.0.1")
	a, err := associate(proxy, "127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if !a.relay.IP.Equal(net.IPv4(127, 0, 0, 1)) || a.relay.Port == 0 {
		t.Errorf("the relay is at %v", a.relay)
	}
	stranger, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)})
	must(t, err)
	defer stranger.Close()
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer other.Close()
	to := header(0, target.LocalAddr())
	// What must be dropped goes first: were it carried, its answer would come before.
	a.send(t, stranger, append(to[:len(to):len(to)], "stranger"...))
	for _, bad := range [][]byte{
		{},
		{0},
		to[:3], to[:7],
		{0, 0, 0, 2, 1, 2, 3, 4, 0, 53, 'x'},
		{0, 0, 0, 3, 200, 'a'},
		append(header(1, target.LocalAddr()), "fragment"...), append(header(0x81, target.LocalAddr()), "last fragment"...),
	} {
		a.send(t, other, bad)
	}
	exchange := func(what string, head, data, want []byte) {
		t.Helper()
		a.send(t, a.sock, append(head[:len(head):len(head)], data...))
		got, back := a.answer(t, len(data))
		if !bytes.Equal(back, data) {
			t.Errorf("%s: %d bytes came back, not those sent", what, len(back))
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the answer's header is % x, want % x", what, got, want)
		}
	}
	exchange("IPv4", to, []byte("hello"), to)
	exchange("nothing", to, nil, to)
	exchange("65,000 bytes", to, bytes.Repeat([]byte("x"), 65000), to)
	exchange("a second target", header(0, second.LocalAddr()), []byte("second"), header(0, second.LocalAddr()))
	port := uint16(target.LocalAddr().(*net.UDPAddr).Port)
	named := binary.BigEndian.AppendUint16(append([]byte{0, 0, 0, 3, 9}, "localhost"...), port)
	exchange("a name", named, []byte("named"), named)
	if l, err := net.ListenPacket("udp6", "[::1]:0"); err == nil && six {
		_ = l.Close()
		to6 := header(0, answerer(t, "::1").LocalAddr())
		exchange("IPv6", to6, []byte("six"), to6)
	}
	a.send(t, other, append(to[:len(to):len(to)], "by another port"...))
	exchange("after a stranger's", to, []byte("again"), to)
	checkPort(t, proxy, to)
	// The relay's socket belongs to the conn.
	_ = a.control.Close()
	probe, err := net.DialUDP("udp4", nil, a.relay)
	must(t, err)
	defer probe.Close()
	for end := time.Now().Add(dialLimit); ; { // ICMP tells, once it is closed
		_, _ = probe.Write(to)
		_ = probe.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := probe.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the relay outlives its conn")
		}
	}
}

// checkPort has the request say whence the datagrams will come: others are dropped.
func checkPort(t *testing.T, proxy string, to []byte) {
	t.Helper()
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer other.Close()
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	port := uint16(free.LocalAddr().(*net.UDPAddr).Port)
	_ = free.Close()
	a, err := associate(proxy, "127.0.0.1", port)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	a.send(t, other, append(to[:len(to):len(to)], "by a port that was not named"...))
	a.send(t, a.sock, append(to[:len(to):len(to)], "named"...))
	if _, data := a.answer(t, len("named")); string(data) != "named" {
		t.Errorf("the port of the request: %q came back", data)
	}
}

// TestUDPRefused: where a chain can't carry it, that is said, and nothing is sent.
func TestUDPRefused(t *testing.T) {
	target := answerer(t, "127.0.0.1")
	e, eerr := egress()
	for name, get := range map[string]member{
		"squid": squid, "microsocks": microsocks, "go-socks5": armon, "egress": func() (peer, error) { return e, eerr }, "dante-4a": dante4a,
	} {
		t.Run(name, func(t *testing.T) {
			p, err := get()
			b := runChain(t, need(t, p, err))
			a, err := associate(b.addr, "127.0.0.1", 0)
			if p.scheme == "socks5" {
				// It may know the command, for all that is known: a datagram finds out.
				if err != nil {
					t.Fatal(err)
				}
				a.send(t, a.sock, append(header(0, target.LocalAddr()), "x"...))
				b.awaitLine(t, `msg=failed.*command not supported`)
				a.close()
				_, err = associate(b.addr, "127.0.0.1", 0)
			}
			if err != replyError(7) {
				t.Errorf("UDP ASSOCIATE: %v", err)
			}
		})
	}
}

// dnsServer answers every question, by UDP and TCP, with one address.
func dnsServer(t *testing.T, ip net.IP) *net.UDPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().(*net.TCPAddr)
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: addr.IP, Port: addr.Port})
	must(t, err)
	t.Cleanup(func() {
		_ = l.Close()
		_ = u.Close()
	})
	answer := func(q []byte) []byte {
		end := 12 + bytes.IndexByte(q[12:], 0) + 5
		out := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
		if q[end-3] == 1 { // A
			out[7] = 1
			out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			out = append(out, ip.To4()...)
		}
		return out
	}
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := u.ReadFromUDP(buf)
			if err != nil {
				return
			}
			_, _ = u.WriteToUDP(answer(buf[:n]), from)
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					head, err := ask(c, nil, 2)
					if err != nil {
						return
					}
					q, err := ask(c, nil, int(binary.BigEndian.Uint16(head)))
					if err != nil {
						return
					}
					out := answer(q)
					_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
				}
			}()
		}
	}()
	return &net.UDPAddr{IP: addr.IP, Port: addr.Port}
}

// TestDNSOverUDP has PySocks ask a DNS server through byway and dante.
func TestDNSOverUDP(t *testing.T) {
	if runQuiet(python, "-c", "import socks") != nil {
		need(t, 0, missing{"python3-socks"})
	}
	p, err := dante()
	p = need(t, p, err)
	second, err := dante2()
	second = need(t, second, err)
	server := dnsServer(t, net.IPv4(192, 0, 2, 80))
	b := runChain(t, p, second)
	host, port, _ := net.SplitHostPort(b.addr)
	r := client(t, nil, nil, python, "-c", `
import socks, socket, sys
s = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
s.set_proxy(socks.SOCKS5, sys.argv[1], int(sys.argv[2]))
s.settimeout(30)
query = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\7website\4test\0\0\1\0\1"
s.sendto(query, ("127.0.0.1", int(sys.argv[3])))
answer, _ = s.recvfrom(512)
assert answer[:2] == query[:2]
print(socket.inet_ntoa(answer[-4:]))
`, host, port, fmt.Sprint(server.Port))
	if got := strings.TrimSpace(string(r.stdout)); got != "192.0.2.80" || r.code != 0 {
		t.Errorf("status %d, %q: %s", r.code, got, r.stderr)
	}
}

// resolve asks by Tor's RESOLVE, as torsocks does.
func resolve(proxy string, command byte, addr []byte) (string, error) {
	c, err := net.DialTimeout("tcp", proxy, dialLimit)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(dialLimit))
	if _, err := ask(c, []byte{5, 1, 0}, 2); err != nil {
		return "", err
	}
	head, err := ask(c, append(append([]byte{5, command, 0}, addr...), 0, 0), 4)
	if err != nil {
		return "", err
	}
	if head[1] != 0 {
		return "", replyError(head[1])
	}
	rest, err := io.ReadAll(c)
	switch {
	case err != nil:
		return "", err
	case head[3] == 3:
		return string(rest[1 : len(rest)-2]), nil
	}
	return net.IP(rest[:len(rest)-2]).String(), nil
}

// TestResolve has names resolved at the exit: an egress of ours, by itself and
// behind others, a byway as a SOCKS hop, and those that can't, which say so.
func TestResolve(t *testing.T) {
	e, err := egress()
	e = need(t, e, err)
	d, err := dante()
	d = need(t, d, err)
	s, err := squid()
	s = need(t, s, err)
	own := bywayPeer(t)
	name := append([]byte{3, 9}, "localhost"...)
	for what, test := range map[string]struct {
		chain []peer
		want  error
	}{
		"egress": {[]peer{e}, nil}, "dante>egress": {[]peer{d, e}, nil}, "egress>egress": {[]peer{e, e}, nil}, "byway": {[]peer{own}, nil}, "dante>byway": {[]peer{d, own}, nil},
		"dante": {[]peer{d}, replyError(7)}, "squid": {[]peer{s}, replyError(7)}, "egress>squid": {[]peer{e, s}, replyError(7)},
	} {
		t.Run(what, func(t *testing.T) {
			b := runChain(t, test.chain...)
			got, err := resolve(b.addr, 0xF0, name)
			if err != test.want || err == nil && got != "127.0.0.1" {
				t.Errorf("RESOLVE: %q, %v", got, err)
			}
			got, err = resolve(b.addr, 0xF1, []byte{1, 127, 0, 0, 1})
			if err != test.want || err == nil && got != "localhost" {
				t.Errorf("RESOLVE_PTR: %q, %v", got, err)
			}
		})
	}
}
