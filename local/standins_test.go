package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

const standInDNS = "[[dns]]\nlisten = \"127.0.0.1:0\"\naddresses = \"stand-in\"\n"

// standInServer serves nothing: requests go to its relay.
func standInServer(t *testing.T, routes string, base chain.Dialer) *Server {
	t.Helper()
	s, err := New(parse(t, "[[listen]]\naddress = \"127.0.0.1:0\"\n[[hop]]\nname = \"h\"\nurl = \"socks5://192.0.2.1\"\n[[chain]]\nname = \"c\"\nhops = [\"h\"]\nspares = 0\n"+
		standInDNS+routes), base, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestStandInsNowhere dials no address of the ranges, whoever asks for it, and whatever a rule says.
func TestStandInsNowhere(t *testing.T) {
	s := standInServer(t, "[[route]]\nto = \"direct\"\n", testnet.NoDial(t))
	v4, v6, _ := s.stand.Give("0x7f.1", nil) // no DNS listener would
	_, _, _ = s.stand.Give("198.18.0.9", nil)
	for _, host := range []string{"198.18.0.1", "0xc6120001", "198.18.1", "3323068417", "::ffff:198.19.255.255", "fc00::1", "fc00:3fff::", "fc00::1%eth0"} {
		q := relay.Request{Network: "tcp", Addr: net.JoinHostPort(host, "80")}
		if d, err := s.relay.Route(t.Context(), q); !errors.Is(err, relay.ErrBlocked) || d.Rule != noName {
			t.Errorf("%s: %+v, %v", host, d, err)
		}
		if e := s.Explain(q, time.Now()); e.Decision.Dialer != nil || e.Decision.Rule != noName {
			t.Errorf("%s is explained as %+v", host, e)
		}
		if got, err := s.relay.Resolve(t.Context(), q, host); !errors.Is(err, relay.ErrBlocked) {
			t.Errorf("%s was resolved to %q, %v", host, got, err)
		}
	}
	for _, host := range []string{"198.17.255.255", "198.20.0.0", "fc00:4000::1", "name.example"} {
		if d, err := s.relay.Route(t.Context(), relay.Request{Network: "tcp", Addr: net.JoinHostPort(host, "80")}); err != nil || d.Via != "direct" {
			t.Errorf("%s: %+v, %v", host, d, err)
		}
	}
	for _, a := range []netip.Addr{v4, v6} {
		d, _ := s.relay.Route(t.Context(), relay.Request{Network: "tcp", Addr: net.JoinHostPort(a.String(), "80")})
		if d.Addr != "127.0.0.1:80" || d.Target != "0x7f.1:80" {
			t.Errorf("%+v", d)
		}
	}
	four, _, _ := s.stand.Give("198.18.0.9", nil)
	if d, err := s.relay.Route(t.Context(), relay.Request{Network: "tcp", Addr: four.String() + ":80"}); err == nil {
		t.Errorf("a name that is an address of the range: %+v", d)
	}
}

// TestStandInsOfLookups: the look-up for a rule is about the name, and may not come to an address
// of the ranges.
func TestStandInsOfLookups(t *testing.T) {
	for said, blocked := range map[string]bool{"192.0.2.7": false, "198.18.5.5": true, "fc00::7": true} {
		far := socksServer(t, resolvesTo(said))
		base := testnet.Only(t, &net.Dialer{}, far)
		s, err := New(parse(t, strings.Replace(through(far), "[[route]]", "[[route]]\nto = \"direct\"\ncidr = [\"0.0.0.0/0\", \"::/0\"]\nlookup = \"c\"\n[[route]]", 1)+standInDNS), base, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		a, _, _ := s.stand.Give("target.example", nil)
		d, err := s.relay.Route(t.Context(), relay.Request{Network: "tcp", Addr: a.String() + ":80"})
		if (err != nil) != blocked || !blocked && (d.Addr != said+":80" || d.Target != "target.example:80") {
			t.Errorf("%s: %+v, %v", said, d, err)
		}
		_ = s.Close()
	}
}

type resolvesTo string

func (r resolvesTo) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, syscall.EACCES
}
func (r resolvesTo) Resolve(context.Context, string) (string, error) { return string(r), nil }

// TestStandInsOfTunnels holds an address as long as a tunnel to it lives.
func TestStandInsOfTunnels(t *testing.T) {
	near, far := testnet.Pipe(0)
	base := chain.DialerFunc(func(_ context.Context, _, addr string) (net.Conn, error) {
		if addr != "target.example:80" {
			t.Errorf("dialled %s", addr)
		}
		return near, nil
	})
	s := standInServer(t, "[[route]]\nto = \"direct\"\n", base)
	a, _, _ := s.stand.Give("target.example", nil)
	q := relay.Request{Network: "tcp", Addr: a.String() + ":80"}
	d, err := s.relay.Route(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.relay.Dial(t.Context(), q, d)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.stand.Tunnels(a); n != 1 {
		t.Errorf("%d tunnels to it, want 1", n)
	}
	_, _ = c.Close(), far.Close()
	if n := s.stand.Tunnels(a); n != 0 {
		t.Errorf("%d tunnels to it, want 0", n)
	}
}

// TestStandInsAreIdentities: targets are kept apart by name, not by address.
func TestStandInsAreIdentities(t *testing.T) {
	var id chain.Identity
	base := chain.DialerFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
		id = chain.IdentityOf(ctx)
		return nil, io.ErrUnexpectedEOF
	})
	s := standInServer(t, "[[route]]\nto = \"direct\"\n", base)
	a, _, _ := s.stand.Give("target.example", nil)
	var got []chain.Identity
	for _, addr := range []string{"target.example:80", a.String() + ":80", "other.example:80"} {
		q := relay.Request{Network: "tcp", Addr: addr, Isolate: relay.ByTarget}
		d, _ := s.relay.Route(t.Context(), q)
		_, _ = s.relay.Dial(t.Context(), q, d)
		got = append(got, id)
	}
	if got[0] != got[1] || got[0] == got[2] {
		t.Errorf("identities %+v", got)
	}
}

// TestStandInsInFile refuses what would be dialled without a rule.
func TestStandInsInFile(t *testing.T) {
	file := func(hop, dns, forward, upstream string) string {
		return fmt.Sprintf("[[listen]]\naddress = \"127.0.0.1:0\"\n[[hop]]\nname = \"h\"\nurl = \"socks5://%s\"\n[[chain]]\nname = \"c\"\nhops = [\"h\"]\ndns = \"%s:53\"\n"+
			"[[forward]]\nlisten = \"127.0.0.1:0\"\ntarget = \"%s:7\"\nto = \"c\"\n[[route]]\nto = \"c\"\n[[dns]]\nlisten = \"127.0.0.1:0\"\nupstream = \"tcp://%s\"\nvia = \"c\"\n", hop, dns, forward, upstream)
	}
	for text, want := range map[string]string{
		file("198.18.0.1", "192.0.2.1", "a.example", "192.0.2.1"):      `:5:7: hop "h": url: is an address that stands for names`,
		file("192.0.2.1", "198.19.1.1", "a.example", "192.0.2.1"):      `:9:7: chain "c": dns: is an address`,
		file("192.0.2.1", "192.0.2.1", "0xc6120001", "192.0.2.1"):      `:12:10: forward[0].target: is an address`,
		file("192.0.2.1", "192.0.2.1", "a.example", "[fc00::9]"):       `:18:12: dns[0].upstream[0]: is an address`,
		file("192.0.2.1", "192.0.2.1", "a.example", "[::ffff:c612:1]"): `:18:12: dns[0].upstream[0]: is an address`,
		file("192.0.2.1", "192.0.2.1", "a.example", "192.0.2.1") + "[[group]]\nname = \"g\"\nmembers = [\"h\"]\nprobe = { target = \"https://198.18.0.1/\" }\n": `:23:20: group "g": probe.target: is an address`,
		file("192.0.2.1", "192.0.2.1", "a.example", "[fc00:ffff::9]"):                                                                                           "",
		file("192.0.2.1", "192.0.2.1", "198.20.0.1", "dns.example"):                                                                                             "",
		file("198.17.0.1", "198.20.0.1", "fd00.example", "dns.example"):                                                                                         "",
	} {
		for _, on := range []bool{true, false} {
			whole := text
			if on {
				whole += standInDNS
			}
			s, err := New(parse(t, whole), testnet.NoDial(t), slog.New(slog.DiscardHandler))
			switch {
			case err == nil && (want == "" || !on):
			case err != nil && want != "" && on && strings.Contains(err.Error(), want):
			default:
				t.Errorf("%v, want %q\n%s", err, want, whole)
			}
			if err == nil {
				_ = s.Close()
			}
		}
	}
}

// TestBaseIsGuarded: a system whose resolver is byway itself takes a name's stand-in for its address.
func TestBaseIsGuarded(t *testing.T) {
	s := standInServer(t, "[[route]]\nto = \"direct\"\n", &net.Dialer{})
	d, err := s.relay.Route(t.Context(), relay.Request{Network: "tcp", Addr: "name.example:80"})
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "udp"} {
		for _, addr := range []string{"198.18.0.1:9", "[fc00::1]:9"} {
			if _, err := d.Dialer.DialContext(t.Context(), network, addr); !errors.Is(err, errStandIn) {
				t.Errorf("%s %s: %v", network, addr, err)
			}
		}
	}
	l := testnet.Listen(t)
	c, err := d.Dialer.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// TestStandInsAfterReload: once addresses were handed out, they never lead anywhere else.
func TestStandInsAfterReload(t *testing.T) {
	text := through("192.0.2.1:1080")
	s, _, _ := serveServer(t, parse(t, text), nowhere{})
	q := relay.Request{Network: "tcp", Addr: "198.18.0.1:80"}
	route := func(want bool) {
		t.Helper()
		if _, err := s.relay.Route(t.Context(), q); (err == nil) != want {
			t.Errorf("%v, want it to lead somewhere: %v", err, want)
		}
	}
	route(true)
	for _, with := range []string{text + standInDNS, text + standInDNS, text} {
		if _, err := s.Reload(t.Context(), parse(t, with)); err != nil {
			t.Fatal(err)
		}
		route(false)
	}
}
