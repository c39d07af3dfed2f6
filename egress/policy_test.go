package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/dnsask"
	"github.com/byway-proxy/byway/internal/testnet"
)

// names is a Resolver of fixed names.
type names map[string][]netip.Addr

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := n[host]; ok {
		return a, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}

// recorder is a base dialer that records what it is asked for.
type recorder struct {
	mu    sync.Mutex
	asked []string
}

func (r *recorder) DialContext(_ context.Context, _, addr string) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, addr)
	near, far := testnet.Pipe(0)
	_ = far.Close()
	return near, nil
}

// TestSpecialAddressesAreUnreachable walks each range at both ends and inside, in
// plain and v4-in-v6 form, as an address and as what a name resolves to.
func TestSpecialAddressesAreUnreachable(t *testing.T) {
	base := testnet.NoDial(t)
	for _, p := range special {
		last := p.Masked().Addr().AsSlice()
		for i := p.Bits(); i < len(last)*8; i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		end, _ := netip.AddrFromSlice(last)
		for _, a := range []netip.Addr{p.Masked().Addr(), p.Masked().Addr().Next(), end} {
			forms := []netip.Addr{a}
			if a.Is4() {
				forms = append(forms, netip.AddrFrom16(a.As16()))
				for _, prefix := range []string{"64:ff9b::", "::"} {
					b := netip.MustParseAddr(prefix).As16()
					v4 := a.As4()
					copy(b[12:], v4[:])
					forms = append(forms, netip.AddrFrom16(b))
				}
				v4 := a.As4()
				forms = append(forms, netip.AddrFrom16([16]byte{0x20, 0x02, v4[0], v4[1], v4[2], v4[3]}))
			}
			for _, f := range forms {
				policy := &Policy{Base: base, Resolver: names{"rebind.example": {f}}}
				for _, host := range []string{f.String(), "rebind.example"} {
					_, err := policy.DialContext(t.Context(), "tcp", net.JoinHostPort(host, "443"))
					if !errors.Is(err, ErrNotAllowed) || chain.Errno(err) != syscall.EACCES {
						t.Errorf("%s (%s of %s): error %v", host, f, p, err)
					}
				}
			}
		}
	}
}

func TestPolicy(t *testing.T) {
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var own string
	for _, a := range interfaces {
		if p := netip.MustParsePrefix(a.String()); p.Addr().Is4() && !p.Addr().IsLoopback() {
			own = p.Addr().String()
		}
	}
	resolver := names{
		"site.example":  addrs("198.51.45.7"),
		"mixed.example": addrs("10.0.0.1", "198.51.45.7"),
		"none.example":  {},
	}
	for _, test := range []struct {
		addr        string
		allow, deny string
		dialled     string // "" for refused
	}{
		{addr: "site.example:443", dialled: "198.51.45.7:443"},
		{addr: "198.51.45.7:443", dialled: "198.51.45.7:443"},
		{addr: "[::ffff:198.51.45.7]:443", dialled: "198.51.45.7:443"},
		{addr: "[2606:4700::1]:443", dialled: "[2606:4700::1]:443"},
		{addr: "mixed.example:443", dialled: "198.51.45.7:443"},
		{addr: "none.example:443"},
		{addr: "unknown.example:443"},
		{addr: "site.example:25"},
		{addr: "site.example:0"},
		{addr: "site.example:65536"},
		{addr: "site.example:https"},
		{addr: "site.example"},
		{addr: ":443"},
		{addr: "[fe80::1%eth0]:443"},
		{addr: "[2606:4700::1%eth0]:443"},
		{addr: "10.0.0.1:443", allow: "10.0.0.0/24", dialled: "10.0.0.1:443"},
		{addr: "[::ffff:10.0.0.1]:443", allow: "10.0.0.0/24", dialled: "10.0.0.1:443"},
		{addr: "10.0.1.1:443", allow: "10.0.0.0/24"},
		{addr: "10.0.0.1:443", allow: "10.0.0.0/24", deny: "10.0.0.1/32"},
		{addr: "site.example:443", deny: "198.51.45.0/24"},
		{addr: own + ":443"},
	} {
		base := &recorder{}
		p := &Policy{Base: base, Resolver: resolver, DenyPorts: []uint16{25, 465, 587}}
		if test.allow != "" {
			p.Allow = prefixes(test.allow)
		}
		if test.deny != "" {
			p.Deny = prefixes(test.deny)
		}
		c, err := p.DialContext(t.Context(), "tcp", test.addr)
		if c != nil {
			_ = c.Close()
		}
		if got := strings.Join(base.asked, ","); got != test.dialled || (err == nil) != (test.dialled != "") {
			t.Errorf("%s (allow %s, deny %s): dialled %q, error %v; want %q", test.addr, test.allow, test.deny, got, err, test.dialled)
		}
	}
	if _, err := new(Policy).DialContext(t.Context(), "tcp", "198.51.45.7:443"); err == nil {
		t.Error("the zero Policy dialled")
	}
	p := &Policy{Base: testnet.NoDial(t), Resolver: resolver}
	if _, err := p.DialContext(t.Context(), "unix", "/run/x.sock"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("unix: %v", err)
	}
	if chain.Carries(p, "udp") || !chain.Carries(&Policy{Base: &net.Dialer{}}, "udp") {
		t.Error("the policy carries other networks than its base")
	}
}

// TestPolicyUDP judges targets of datagrams as others, and takes the first that there is a route to.
func TestPolicyUDP(t *testing.T) {
	var dialled []string
	p := &Policy{
		Resolver:  names{"two.example": addrs("2606::1", "198.51.45.7"), "private.example": addrs("10.0.0.1")},
		DenyPorts: []uint16{25},
		Base: chain.DialerFunc(func(_ context.Context, network, addr string) (net.Conn, error) {
			dialled = append(dialled, network+" "+addr)
			if strings.HasPrefix(addr, "[") {
				return nil, syscall.ENETUNREACH
			}
			return &net.UDPConn{}, nil
		}),
	}
	for addr, want := range map[string]string{
		"two.example:53": "udp [2606::1]:53,udp 198.51.45.7:53", "private.example:53": "", "198.51.45.7:25": "", "169.254.169.254:53": "",
		"[2606::1]:53": "udp [2606::1]:53",
	} {
		dialled = nil
		_, err := p.DialContext(t.Context(), "udp", addr)
		if got := strings.Join(dialled, ","); got != want || (err == nil) != strings.Contains(want, "198") {
			t.Errorf("%s: dialled %q, %v; want %q", addr, got, err, want)
		}
	}
	dialled = nil
	conn, err := p.DialContext(t.Context(), "udp", dnsask.Exit)
	if err != nil || dialled != nil {
		t.Fatalf("a flow to the egress itself: %v, dialled %q", err, dialled)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	_ = conn.Close()
}

// TestHappyEyeballs has addresses that hang, refuse and answer, in virtual time.
func TestHappyEyeballs(t *testing.T) {
	for _, test := range []struct {
		name  string
		addrs []netip.Addr
		won   string
		after time.Duration
	}{
		{"first answers", addrs("2606::1", "192.9.9.1"), "2606::1", 100 * time.Millisecond},
		{"first hangs", addrs("2606::dead", "192.9.9.1"), "192.9.9.1", 350 * time.Millisecond},
		{"first refuses", addrs("2606::bad", "192.9.9.1"), "192.9.9.1", 200 * time.Millisecond},
		{"two hang", addrs("2606::dead", "2606::2", "192.9.9.99"), "2606::2", 600 * time.Millisecond},
		{"all refuse", addrs("2606::bad", "192.9.9.66"), "", 200 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &Policy{Resolver: names{"site.example": test.addrs}, Base: chain.DialerFunc(eyeballsBase)}
				began := time.Now()
				c, err := p.DialContext(t.Context(), "tcp", "site.example:443")
				if took := time.Since(began); took != test.after {
					t.Errorf("took %v, want %v", took, test.after)
				}
				if test.won == "" {
					if !errors.Is(err, syscall.ECONNREFUSED) {
						t.Errorf("error %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := c.RemoteAddr().String(); got != test.won {
					t.Errorf("%s won", got)
				}
				_ = c.Close()
			})
		})
	}
}

func eyeballsBase(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	if host == "2606::dead" || host == "192.9.9.99" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(100 * time.Millisecond)
	if host == "2606::bad" || host == "192.9.9.66" {
		return nil, syscall.ECONNREFUSED
	}
	near, far := testnet.Pipe(0)
	_ = far.Close()
	return remoteConn{near, testnet.Addr(host)}, nil
}

type remoteConn struct {
	net.Conn
	remote net.Addr
}

func (c remoteConn) RemoteAddr() net.Addr { return c.remote }
