//go:build interop

package interop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
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
	e, eerr := egress()
	e = need(t, e, eerr)
	for name, peers := range map[string][]peer{
		"dante": {d}, "dante>dante": {d, second}, "byway": {own}, "dante>byway": {d, own}, "byway>dante": {own, d}, "byway>byway>dante": {own, own, d},
		"egress": {e}, "byway>egress": {own, e}, "dante>egress": {d, e},
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
	for name, get := range map[string]member{
		"squid": squid, "microsocks": microsocks, "go-socks5": armon, "dante-4a": dante4a,
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
