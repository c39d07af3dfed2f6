package leaks

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/byway-proxy/byway/socks"
)

// nameServer serves DNS by TCP on the hop's host: all that it is asked for is target4.
func (s *site) nameServer(addr string) {
	var l net.Listener
	var err error
	if e := s.hop.Do(func() { l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr) }); e != nil || err != nil {
		s.t.Fatal(e, err)
	}
	s.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveNames(c)
		}
	}()
}

func serveNames(c net.Conn) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(b); err != nil || len(m.Questions) != 1 {
			return
		}
		q := m.Questions[0]
		out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true}, Questions: m.Questions}
		if q.Type == dnsmessage.TypeA {
			out.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
				Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(target4).To4())},
			}}
		}
		packed, err := out.Pack()
		if err != nil {
			return
		}
		_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)) //nolint:gosec // a short one
	}
}

// asks looks names up by a DNS listener of byway's, as an app on the client's host does.
func (s *site) asks(server, network, name, want string) {
	s.t.Helper()
	r := &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return s.client.DialContext(ctx, network, server)
	}}
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	got, err := r.LookupNetIP(ctx, "ip4", name+".")
	if (err == nil) != (want != "") || err == nil && (len(got) != 1 || got[0].Unmap().String() != want) {
		s.t.Errorf("%s by %s of %s: %v, %v; want %q", name, network, server, got, err, want)
	}
}

// questions asks the DNS listeners.
func (s *site) questions() {
	for _, network := range []string{"udp", "tcp"} {
		for _, server := range []string{"127.0.0.1:53", "127.0.0.1:5301"} { // the latter's first servers do not exist
			s.asks(server, network, network+".names.example", target4)
			s.asks(server, network, "x.blocked.example", "")
			s.asks(server, network, "printer.local", "")
			s.asks(server, network, "hidden.onion", "")
		}
		s.asks("127.0.0.1:5302", network, "a.example", "")
		s.asks("127.0.0.1:5302", network, "x.blocked.example", "0.0.0.0")
	}
	for _, junk := range []string{"", "x", strings.Repeat("\xff", 600), strings.Repeat("\x00", 30)} {
		c, err := s.client.DialContext(s.t.Context(), "udp", "127.0.0.1:53")
		if err != nil {
			s.t.Fatal(err)
		}
		_, _ = io.WriteString(c, junk)
		_ = c.Close()
	}
	s.asks("127.0.0.1:53", "udp", "afterwards.example", target4)
}

// directServer has what goes direct resolved by a server that is dead: nobody else is asked.
func (s *site) directServer() {
	for _, scheme := range []string{"udp", "tcp", "tls", "https"} {
		stop := s.run(s.client, fmt.Sprintf("[[listen]]\naddress = \"127.0.0.1:1090\"\n[resolve]\ndirect = \"%s://%s\"\n[[route]]\nto = \"direct\"\n[timeouts]\ndial = \"2s\"\ndrain = \"100ms\"\n",
			scheme, s.hop.Addr(9)), "127.0.0.1:1090")
		for name, d := range s.speakers("127.0.0.1:1090") {
			if name != "socks4" {
				s.fails(name+" direct, by a dead server", d, "tcp", "a.example:7")
			}
		}
		s.fails("udp direct, by a dead server", s.by(socks.Hop5("127.0.0.1:1090", socks.HopOptions{})), "udp", "a.example:7")
		stop()
	}
}

// standIns asks for addresses that stand for names, and connects to them by every protocol.
func (s *site) standIns() {
	for _, network := range []string{"udp", "tcp"} {
		s.asks("127.0.0.1:5303", network, "x.blocked.example", "")
		s.asks("127.0.0.1:5304", network, "hidden.onion", "")
	}
	r := &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return s.client.DialContext(ctx, "udp", "127.0.0.1:5304")
	}}
	known := make(map[string]bool)
	for _, name := range []string{"a.example", "unknown.example", "x.dead.example", "x.old.example"} {
		all, err := r.LookupNetIP(s.t.Context(), "ip", name+".")
		if err != nil || len(all) != 2 {
			s.t.Fatalf("%s: %v, %v", name, all, err)
		}
		for _, a := range all {
			a = a.Unmap()
			known[a.String()] = true
			addr := net.JoinHostPort(a.String(), "7")
			for by, d := range s.speakers("127.0.0.1:1080") {
				switch {
				case strings.HasPrefix(by, "socks4") && a.Is6():
				case name == "a.example":
					s.passes(by, d, "tcp", addr)
				default:
					s.fails(by, d, "tcp", addr)
				}
			}
			if d := s.by(socks.Hop5("127.0.0.1:1080", socks.HopOptions{})); name == "a.example" {
				s.passes("udp", d, "udp", addr)
			} else {
				s.fails("udp", d, "udp", addr)
			}
		}
	}
	if _, err := r.LookupMX(s.t.Context(), "a.example."); err == nil {
		s.t.Error("there is mail for a.example")
	}
	for _, host := range []string{"198.18.0.1", "198.19.255.254", "fc00::1:1", "fc00::7", "0xc6120003"} {
		for by, d := range s.speakers("127.0.0.1:1080") {
			if !known[host] && !(by == "socks4" && !strings.HasPrefix(host, "198")) {
				s.fails(by+" to what stands for nothing", d, "tcp", net.JoinHostPort(host, "7"))
			}
		}
	}
}
