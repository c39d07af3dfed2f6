package egress

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/connectudp"
	"github.com/byway-proxy/byway/internal/testnet"
)

// udpEcho is a target that answers datagrams with what they said.
func udpEcho(t testing.TB) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
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
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

// TestFlows: datagrams to a name that the egress resolves, on HTTP/3 and HTTP/1.1; the policy
// holds for them too.
func TestFlows(t *testing.T) {
	target := udpEcho(t)
	s, addr, addr3, token := start3(t, &Policy{
		Resolver: names{"target.example": addrs("127.0.0.1"), "private.example": addrs("10.0.0.1")},
		Base:     &net.Dialer{},
		Allow:    prefixes("127.0.0.1/32"),
	})
	for name, c := range map[string]*chain.Chain{"HTTP/3": through3(t, s, addr3, token), "HTTP/1.1": through(t, s, addr, token)} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				conn, err := c.Dial("udp", net.JoinHostPort("target.example", itoa(target.Port())))
				must(t, err)
				_, err = io.WriteString(conn, "hello")
				must(t, err)
				buf := make([]byte, 16)
				if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "hello" {
					t.Errorf("echo %q, %v", buf[:n], err)
				}
				_ = conn.Close()
			}
			_, err := c.Dial("udp", "private.example:53")
			if e := (*chain.Error)(nil); !errors.As(err, &e) || e.Phase != chain.PhaseConnect || !errors.Is(err, syscall.EACCES) {
				t.Errorf("a target that is not allowed: %v", err)
			}
		})
	}
}

// TestFlowsPerUser: what is beyond is refused with the cause, and a flow that ended makes room.
func TestFlowsPerUser(t *testing.T) {
	target := udpEcho(t)
	s, _, addr3, token := start3(t, &Policy{Resolver: forbidden{t}, Base: &net.Dialer{}, Allow: prefixes("127.0.0.1/32")},
		func(s *Server) { s.FlowsPerUser = 2 })
	c := through3(t, s, addr3, token)
	var open []net.Conn
	for range 2 {
		conn, err := c.Dial("udp", target.String())
		must(t, err)
		open = append(open, conn)
	}
	if _, err := c.Dial("udp", target.String()); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("a third flow: %v", err)
	}
	_ = open[0].Close()
	for { // until the egress has heard of it
		conn, err := c.Dial("udp", target.String())
		if err == nil {
			_ = conn.Close()
			break
		}
		if !errors.Is(err, syscall.EMFILE) {
			t.Fatal(err)
		}
	}
	_ = open[1].Close()
}

// TestStrangersAskForFlows and get the website's own answers, on HTTP/3 and HTTP/1.1.
func TestStrangersAskForFlows(t *testing.T) {
	_, addr, addr3, _ := start3(t, &Policy{Resolver: forbidden{t}, Base: testnet.NoDial(t)})
	cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}} //nolint:gosec // whose site it is, is known
	conn, err := tls.Dial("tcp", addr, cfg)
	must(t, err)
	defer conn.Close()
	path, _ := connectudp.Path("192.0.2.6:443")
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\nProxy-Authorization: Bearer nonsense\r\n\r\n", path)
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || string(body) != "the website" {
		t.Errorf("HTTP/1.1: status %d, %q", resp.StatusCode, body)
	}

	qc, err := quic.DialAddr(t.Context(), addr3, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, nil) //nolint:gosec // as above
	must(t, err)
	defer qc.CloseWithError(0x100, "")
	str, err := (&http3.Transport{DisableCompression: true}).NewClientConn(qc).OpenRequestStream(t.Context())
	must(t, err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, "https://a.example"+path, nil)
	must(t, err)
	r.Proto = connectudp.Protocol
	r.Header.Set("Proxy-Authorization", "Basic "+strings.Repeat("A", 40))
	must(t, str.SendRequestHeader(r))
	if resp, err = str.ReadResponse(); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HTTP/3: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
}
