//go:build interop

package interop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

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
