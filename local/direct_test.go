package local

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/internal/dnsask"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// A direction is a base that has a DNS server at 192.0.2.53, and reaches 192.0.2.7 alone. A name
// that comes to it has gone to the system's resolver.
type direction struct {
	t     *testing.T
	dead  bool // the DNS server
	mu    sync.Mutex
	tried []string
}

func (d *direction) DialContext(_ context.Context, network, addr string) (net.Conn, error) {
	d.mu.Lock()
	d.tried = append(d.tried, network+" "+addr)
	d.mu.Unlock()
	host, _, _ := net.SplitHostPort(addr)
	if _, err := netip.ParseAddr(host); err != nil {
		d.t.Errorf("the system was asked for %s", addr)
	}
	near, far := testnet.Pipe(0)
	switch {
	case addr == "192.0.2.53:53" && !d.dead:
		go dnsask.Answer(far, zone{"website.example": "192.0.2.7", "192.0.2.7": "website.example", "gone.example": "192.0.2.9"}, time.Minute)
		return near, nil
	case host == "192.0.2.7":
		go func() {
			_, _ = io.Copy(far, far)
			_ = far.Close()
		}()
		return near, nil
	}
	return nil, syscall.ECONNREFUSED
}

func (d *direction) Carries(string) bool { return true }

func (d *direction) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.tried
	d.tried = nil
	return all
}

const directFile = "[[listen]]\naddress = \"127.0.0.1:0\"\n[resolve]\ndirect = \"tcp://192.0.2.53\"\n" +
	"[[forward]]\nlisten = \"127.0.0.1:0\"\ntarget = \"website.example:80\"\nto = \"direct\"\n[[route]]\nto = \"direct\"\n"

// TestDirectByServer asks the DNS server that is named for the names of what goes direct, and
// nobody else.
func TestDirectByServer(t *testing.T) {
	base := &direction{t: t}
	s, _, forwards := serveServer(t, parse(t, directFile), base)
	for _, test := range []struct {
		addr string
		want []string
		ok   bool
	}{
		{"website.example:80", []string{"tcp 192.0.2.53:53", "tcp 192.0.2.7:80"}, true},
		{"website.example:443", []string{"tcp 192.0.2.7:443"}, true}, // it is known
		{"192.0.2.7:80", []string{"tcp 192.0.2.7:80"}, true},
		{"gone.example:80", []string{"tcp 192.0.2.9:80"}, false},
		{"unknown.example:80", nil, false},
		{"hidden.onion:80", nil, false},
	} {
		q := relay.Request{Network: "tcp", Addr: test.addr}
		d, err := s.relay.Route(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.relay.Dial(t.Context(), q, d)
		if (err == nil) != test.ok || err == nil && c == nil {
			t.Errorf("%s: %v", test.addr, err)
		}
		if c != nil {
			_ = c.Close()
		}
		if got := base.take(); !slices.Equal(got, test.want) {
			t.Errorf("%s: dialled %q, want %q", test.addr, got, test.want)
		}
	}
	for _, host := range []string{"website.example", "192.0.2.7"} {
		got, err := s.relay.Resolve(t.Context(), relay.Request{Network: "tcp", Addr: net.JoinHostPort(host, "0")}, host)
		if err != nil || got != map[string]string{"website.example": "192.0.2.7", "192.0.2.7": "website.example"}[host] {
			t.Errorf("%s is %q, %v", host, got, err)
		}
	}
	c, err := net.Dial("tcp", forwards[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	checkEcho(t, c)
	if e := s.Explain(relay.Request{Network: "tcp", Addr: "website.example:80"}, time.Now()); e.Names != "the DNS server tcp://192.0.2.53, asked from here" {
		t.Errorf("explained as %q", e.Names)
	}
}

// TestDirectByDeadServer is an error, and goes no other way.
func TestDirectByDeadServer(t *testing.T) {
	base := &direction{t: t, dead: true}
	var log strings.Builder
	s, err := New(parse(t, directFile), base, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		q := relay.Request{Network: "tcp", Addr: "website.example:80"}
		d, _ := s.relay.Route(t.Context(), q)
		if _, err := s.relay.Dial(t.Context(), q, d); err == nil || !strings.Contains(err.Error(), "gives no answer") {
			t.Errorf("%v", err)
		}
	}
	_ = s.Close()
	if n := strings.Count(log.String(), "DNS server fails"); n != 1 || strings.Contains(log.String(), "website") {
		t.Errorf("told %d times:\n%s", n, &log)
	}
	for _, one := range base.take() {
		if one != "tcp 192.0.2.53:53" {
			t.Errorf("dialled %s", one)
		}
	}
}

// TestDirectAfterReload keeps what it knows as long as the server is the same.
func TestDirectAfterReload(t *testing.T) {
	base := &direction{t: t}
	s, _, _ := serveServer(t, parse(t, directFile), base)
	first := s.now().direct
	dial := func(want string) {
		t.Helper()
		q := relay.Request{Network: "tcp", Addr: "website.example:80"}
		d, _ := s.relay.Route(t.Context(), q)
		c, err := s.relay.Dial(t.Context(), q, d)
		if err == nil {
			_ = c.Close()
		}
		if got := fmt.Sprint(base.take()); got != want {
			t.Errorf("dialled %s, want %s; %v", got, want, err)
		}
	}
	dial("[tcp 192.0.2.53:53 tcp 192.0.2.7:80]")
	if _, err := s.Reload(t.Context(), parse(t, directFile+"[timeouts]\ndial = \"7s\"\n")); err != nil {
		t.Fatal(err)
	}
	if s.now().direct != first {
		t.Error("the same server is another one")
	}
	dial("[tcp 192.0.2.7:80]")
	if _, err := s.newIdentity(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	dial("[tcp 192.0.2.53:53 tcp 192.0.2.7:80]")
	if _, err := s.Reload(t.Context(), parse(t, strings.Replace(directFile, "tcp://192.0.2.53", "tcp://dns.example\"\naddress = \"192.0.2.53", 1))); err != nil {
		t.Fatal(err)
	}
	if s.now().direct == first {
		t.Error("another server is the same one")
	}
	dial("[tcp 192.0.2.53:53 tcp 192.0.2.7:80]")
}
