package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/internal/testnet"
)

func TestParseDestination(t *testing.T) {
	for text, fits := range map[string]map[string]bool{
		"example.org":          {"example.org:1": true, "EXAMPLE.org.:443": true, "a.example.org:1": false, "192.0.2.1:1": false},
		".example.org:443":     {"example.org:443": true, "a.example.org:443": true, "a.example.org:80": false},
		"203.0.113.0/24":       {"203.0.113.9:1": true, "203.0.114.9:1": false, "example.org:1": false},
		"203.0.113.7:80-90":    {"203.0.113.7:85": true, "203.0.113.7:91": false},
		"203.0.113.0/24:22":    {"203.0.113.7:22": true, "203.0.113.7:23": false},
		"fd00::1":              {"[fd00::1]:1": true, "[fd00::2]:1": false},
		"[fd00::1]:443":        {"[fd00::1]:443": true, "[fd00::1]:1": false},
		"fd00::/8":             {"[fd01::1]:443": true, "[fe01::1]:1": false},
		"[fd00::/8]:22":        {"[fd01::1]:22": true, "[fd01::1]:1": false},
		"*":                    {"example.org:1": true, "192.0.2.1:1": true},
		"*:22":                 {"example.org:22": true, "192.0.2.1:22": true, "192.0.2.1:23": false},
		"keyword:22":           {"a22.org:1": true, "a.org:22": false},
		"regexp:^a[0-9]:80":    {"a1.org:80": true, "a1.org:81": false},
		"*.example.org":        {"a.example.org:1": true, "example.org:1": false},
		"":                     nil,
		"[fd00::1":             nil,
		"[192.0.2.1]:80":       nil,
		"example.org:0":        nil,
		"example.org:90-80":    nil,
		"example.org:99999":    nil,
		"10.1.2.3/16":          nil,
		"::ffff:192.0.2.1":     nil,
		"https://example.org/": nil,
		"a b":                  nil,
	} {
		d, err := newDestinations(&users.Limits{Deny: []string{text}})
		if (err != nil) != (fits == nil) {
			t.Errorf("%q: %v", text, err)
			continue
		}
		for target, want := range fits {
			host, port, err := splitTarget(target)
			if err != nil {
				t.Fatal(err)
			}
			addr, _ := netip.ParseAddr(host)
			if !addr.IsValid() {
				addr = netip.MustParseAddr("198.51.100.1")
			}
			if got := !d.allows(host, addr, port); got != want {
				t.Errorf("%q fits %s: %v", text, target, got)
			}
		}
	}
}

func FuzzParseDestination(f *testing.F) {
	for _, s := range []string{"example.org", ".example.org:443", "[fd00::1]:80-90", "10.0.0.0/8:22", "keyword:x", "regexp:(", "*:1", "a:b:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseDestination(text)
		if err != nil {
			return
		}
		if text == "" || m.CIDRs != nil && m.Names != nil {
			t.Errorf("%q: %+v", text, m)
		}
		if m.CIDRs == nil && m.Names == nil && !strings.HasPrefix(text, "*") {
			t.Errorf("%q stands for everything", text)
		}
	})
}

// TestDestinations judges names as asked for and what they resolve to, and refuses what it can't judge.
func TestDestinations(t *testing.T) {
	resolver := names{
		"good.example": addrs("9.9.9.1"), "two.example": addrs("9.9.9.1", "8.8.8.1"), "bad.example": addrs("8.8.8.1"),
	}
	for name, test := range map[string]struct {
		limits users.Limits
		dialed map[string]string // by target; "" for none
	}{
		"a name": {users.Limits{Allow: []string{"good.example:443"}}, map[string]string{
			"good.example:443": "9.9.9.1:443", "good.example:80": "", "bad.example:443": "", "9.9.9.1:443": "",
		}},
		"a range": {users.Limits{Allow: []string{"9.9.9.0/24"}}, map[string]string{
			"good.example:443": "9.9.9.1:443", "two.example:1": "9.9.9.1:1", "bad.example:443": "", "9.9.9.9:443": "9.9.9.9:443",
		}},
		"all but a range": {users.Limits{Deny: []string{"8.8.8.0/24", "*:22"}}, map[string]string{
			"good.example:443": "9.9.9.1:443", "two.example:1": "9.9.9.1:1", "bad.example:443": "", "8.8.8.7:443": "", "good.example:22": "",
			"[::ffff:8.8.8.7]:443": "",
		}},
		"a name in a denied range": {users.Limits{Allow: []string{"bad.example"}, Deny: []string{"8.8.8.0/24"}}, map[string]string{"bad.example:443": ""}},
	} {
		only, err := newDestinations(&test.limits)
		if err != nil {
			t.Fatal(err)
		}
		for target, want := range test.dialed {
			base := &recorder{}
			conn, err := limited{&Policy{Resolver: resolver, Base: base}, only}.DialContext(t.Context(), "tcp", target)
			if got := strings.Join(base.asked, " "); got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, syscall.EACCES) {
				t.Errorf("%s: %s was dialled at %q, %v; want %q", name, target, got, err, want)
			}
			if conn != nil {
				_ = conn.Close()
			}
			// Where names are resolved elsewhere, a range that is denied may be behind any of them.
			base = &recorder{}
			conn, _ = limited{base, only}.DialContext(t.Context(), "tcp", target)
			if len(base.asked) > 0 && want == "" {
				t.Errorf("%s: %s went to the next hop", name, target)
			}
			if conn != nil {
				_ = conn.Close()
			}
		}
	}
}

// TestUsersOfServer: over HTTP/2 and HTTP/1.1, what a user may not have is refused, what moves is counted, and
// a user who is disabled loses the tunnels at once, and is a stranger.
func TestUsersOfServer(t *testing.T) {
	l := testnet.Listen(t)
	go testnet.Echo(l)
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	store, err := users.OpenBolt(filepath.Join(t.TempDir(), "users.db"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := users.OpenStore(nil, store)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Close() })
	token, err := set.Add(users.User{Name: "alice", Limits: users.Limits{Tunnels: 2, Deny: []string{"other.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	policy := &Policy{
		Resolver: names{"target.example": addrs("127.0.0.1"), "other.example": addrs("127.0.0.1")},
		Base:     &net.Dialer{}, Allow: prefixes("127.0.0.1/32"),
	}
	s, addr := startUsers(t, set, Windows{}, policy)
	c := through(t, s, addr, token)
	target := net.JoinHostPort("target.example", itoa(port))
	var conns []net.Conn
	for range 2 {
		conn, err := c.DialContext(t.Context(), "tcp", target)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
		_, _ = io.WriteString(conn, "hello")
		if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.DialContext(t.Context(), "tcp", target); err == nil {
		t.Error("a third tunnel")
	}
	if st := set.List()[0]; st.Live != 2 || st.Usage.Up != 10 || st.Usage.Down != 10 {
		t.Errorf("%+v", st)
	}
	_ = conns[0].Close()
	for set.List()[0].Live > 1 { // the server hears of it soon
		runtime.Gosched()
	}
	if _, err := c.DialContext(t.Context(), "tcp", net.JoinHostPort("other.example", itoa(port))); !errors.Is(err, syscall.EACCES) {
		t.Errorf("a target that is denied: %v", err)
	}
	if err := set.SetDisabled("alice", true); err != nil {
		t.Fatal(err)
	}
	_ = conns[1].SetReadDeadline(time.Now().Add(30 * time.Second)) // that it takes no second is for virtual time
	if _, err := conns[1].Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) || chain.Errno(err) == syscall.ETIMEDOUT {
		t.Errorf("the tunnel of a user who is disabled: %v", err)
	}
	if _, err := c.DialContext(t.Context(), "tcp", target); err == nil {
		t.Error("a tunnel of a user who is disabled")
	}
}

// TestFairShares: of a line that is full, a user with one tunnel has at least 90 % of its fair share
// beside one with 40, over a real network.
func TestFairShares(t *testing.T) {
	l := testnet.Listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					if _, err := c.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}()
		}
	}()
	tokens := map[string]string{"greedy": users.NewToken(), "one": users.NewToken()}
	var declared []users.User
	for name, token := range tokens {
		declared = append(declared, users.User{Name: name, Tokens: []users.Token{{Hash: users.HashOf(token)}}})
	}
	set, err := users.Open(declared, users.Options{Line: users.NewLine(8 << 20)})
	if err != nil {
		t.Fatal(err)
	}
	s, addr := startUsers(t, set, Windows{}, &Policy{Resolver: forbidden{t}, Base: &net.Dialer{}, Allow: prefixes("127.0.0.1/32")})
	var got [2]atomic.Int64
	var wg sync.WaitGroup
	var conns []net.Conn
	for i, name := range []string{"greedy", "one"} {
		n := 1
		if name == "greedy" {
			n = 40
		}
		c := throughAs(t, s, addr, name, tokens[name])
		for range n {
			conn, err := c.DialContext(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
			wg.Go(func() {
				buf := make([]byte, 16<<10)
				for {
					k, err := conn.Read(buf)
					got[i].Add(int64(k))
					if err != nil {
						return
					}
				}
			})
		}
	}
	before := [2]int64{got[0].Load(), got[1].Load()}
	for got[0].Load()+got[1].Load() < before[0]+before[1]+16<<20 {
		time.Sleep(10 * time.Millisecond)
	}
	greedy, one := got[0].Load()-before[0], got[1].Load()-before[1]
	if fair := (greedy + one) / 2; one < fair*9/10 {
		t.Errorf("one has %d of a fair %d, the greedy %d", one, fair, greedy)
	}
	for _, c := range conns {
		_ = chain.Abort(c)
	}
	wg.Wait()
}
