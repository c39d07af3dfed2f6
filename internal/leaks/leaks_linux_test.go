package leaks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/netlab"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/socks"
)

// The target is known by name, and reachable at its addresses, on hop 1 alone.
const (
	target4 = "198.51.100.7"
	target6 = "2001:db8:7::7"
	names   = "a.example b.example c.example d.example e.example forward.example early.example"
)

const config = `
[timeouts]
drain = "100ms"

[[listen]]
address = "127.0.0.1:1080"

[[listen]]
address = "127.0.0.1:1081"
early_reply = true

[[forward]]
listen = "127.0.0.1:2000"
target = "forward.example:7"
to = "way"

[[forward]]
listen = "127.0.0.1:2001"
target = "forward.example:7"
network = "udp"
to = "way"

[[dns]]
listen = "127.0.0.1:53"
upstream = "tcp://198.51.100.7"
via = "way"

[[dns]]
listen = "127.0.0.1:5301"
upstream = ["https://dns.example/dns-query", "tls://dns.example", "tcp://dns.example:5300", "tcp://forward.example"]
via = "way"

[[dns]]
listen = "127.0.0.1:5302"
upstream = ["https://dns.example/dns-query", "tls://9.9.9.9", "tcp://[2001:db8::53]", "tcp://198.51.100.7"]
via = "gone"
blocked = "zero"

[[dns]]
listen = "127.0.0.1:5303"
addresses = "stand-in"

[[dns]]
listen = "127.0.0.1:5304"
addresses = "stand-in"
upstream = "tcp://198.51.100.7"
via = "way"

[[hop]]
name = "one"
url = "socks5://%[1]s:1080"

[[hop]]
name = "old"
url = "socks4://%[1]s:1080"

[[hop]]
name = "shut"
url = "socks5://%[1]s:9"

[[hop]]
name = "shut too"
url = "https://%[1]s:9"

[[group]]
name = "gone"
members = ["shut", "shut too"]

[[chain]]
name = "way"
hops = ["one"]

[[chain]]
name = "dead"
hops = ["shut"]

[[chain]]
name = "late"
hops = ["one", "shut"]

[[chain]]
name = "names not sent"
hops = ["old"]

[[route]]
to = "block"
domain = ".blocked.example"

[[route]]
to = "block"
cidr = ["203.0.113.0/24", "2001:db8:ffff::/48"]

[[route]]
to = "dead"
domain = ".dead.example"

[[route]]
to = "late"
domain = ".late.example"

[[route]]
to = "gone"
domain = ".gone.example"

[[route]]
to = "names not sent"
domain = ".old.example"

[[route]]
to = "way"
`

// A site is the two hosts, and byway on both.
type site struct {
	t      *testing.T
	client *netlab.Host
	hop    *netlab.Host
	astray *netlab.Recorder
	byway  string
	end    func() // of hop 1
}

func newSite(t *testing.T) *site {
	lab := netlab.New(t)
	s := &site{t: t, client: lab.Host(), hop: lab.Host()}
	lab.Link(s.client, s.hop, 0)
	lab.Route()
	s.astray = lab.Record(s.client)
	s.client.Etc("resolv.conf", "nameserver 192.0.2.53\nnameserver 2001:db8::53\noptions timeout:1 attempts:1\n")
	s.hop.Etc("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
	s.hop.Etc("hosts", "127.0.0.1 localhost\n"+target4+" "+names+"\n")
	s.hop.Add(target4 + "/32")
	s.hop.Add(target6 + "/128")
	s.byway = filepath.Join(t.TempDir(), "byway")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", s.byway, "github.com/byway-proxy/byway/cmd/byway").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.echo(target4 + ":7")
	s.echo("[" + target6 + "]:7")
	s.website(target4 + ":80")
	s.nameServer(target4 + ":53")
	s.end = s.run(s.hop, fmt.Sprintf("[[listen]]\naddress = %q\nopen = true\n[[route]]\nto = \"direct\"\n[timeouts]\ndrain = \"100ms\"\n", s.hop.Addr(1080)), s.hop.Addr(1080))
	return s
}

// echo serves TCP and UDP on the hop's host.
func (s *site) echo(addr string) {
	var l net.Listener
	var p net.PacketConn
	var errs [2]error
	if err := s.hop.Do(func() {
		l, errs[0] = (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
		p, errs[1] = (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", addr)
	}); err != nil || errs[0] != nil || errs[1] != nil {
		s.t.Fatal(err, errs)
	}
	go testnet.Echo(l)
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = p.WriteTo(buf[:n], from)
		}
	}()
	s.t.Cleanup(func() {
		_ = l.Close()
		_ = p.Close()
	})
}

func (s *site) website(addr string) {
	var l net.Listener
	var err error
	if e := s.hop.Do(func() { l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr) }); e != nil || err != nil {
		s.t.Fatal(e, err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "page of "+r.Host) })}
	go func() { _ = server.Serve(l) }()
	s.t.Cleanup(func() { _ = server.Close() })
}

// run runs byway on a host until the test ends, once it listens on addr.
func (s *site) run(h *netlab.Host, text, addr string) (stop func()) {
	s.t.Helper()
	cmd, out := s.command(h, text)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Logf("byway said:\n%s", out)
		}
	})
	s.t.Cleanup(stop)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := h.DialContext(s.t.Context(), "tcp", addr)
		if err == nil {
			_ = c.Close()
			return stop
		}
		if time.Now().After(end) {
			s.t.Fatalf("byway does not listen on %s: %v", addr, err)
		}
	}
}

func (s *site) command(h *netlab.Host, text string) (*exec.Cmd, *bytes.Buffer) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "byway.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), "ip", "netns", "exec", h.Namespace(), s.byway, "run", "-c", file) //nolint:gosec // it is ours
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HTTP_PROXY=http://192.0.2.2:1", "ALL_PROXY=socks5://192.0.2.2:1"}
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second
	return cmd, out
}

// by returns a dialer through a proxy of byway's at addr, as an app on the client's host has it.
func (s *site) by(h chain.Hop) chain.Dialer {
	s.t.Helper()
	c, err := chain.New(s.client, h)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// speakers are all ways to ask for a tunnel.
func (s *site) speakers(addr string) map[string]chain.Dialer {
	return map[string]chain.Dialer{
		"socks4":  s.by(socks.Hop4(addr, socks.HopOptions{})),
		"socks4a": s.by(socks.Hop4a(addr, socks.HopOptions{})),
		"socks5":  s.by(socks.Hop5(addr, socks.HopOptions{Pipeline: socks.On})),
		"connect": s.by(httpproxy.Hop(addr, httpproxy.HopOptions{})),
	}
}

// passes says something to a target by d, and hears it again.
func (s *site) passes(what string, d chain.Dialer, network, addr string) {
	s.t.Helper()
	if err := s.exchange(d, network, addr, 10*time.Second); err != nil {
		s.t.Errorf("%s: %s %s: %v", what, network, addr, err)
	}
}

func (s *site) fails(what string, d chain.Dialer, network, addr string) {
	s.t.Helper()
	limit := 10 * time.Second
	if network == "udp" { // what goes nowhere is dropped
		limit = 300 * time.Millisecond
	}
	if err := s.exchange(d, network, addr, limit); err == nil {
		s.t.Errorf("%s: %s %s was reached", what, network, addr)
	}
}

func (s *site) exchange(d chain.Dialer, network, addr string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		return fmt.Errorf("heard %q: %w", got, err)
	}
	return nil
}

// TestRecorder makes sure that what goes astray is seen, by address, by name, and of byway
// itself, when a rule says direct.
func TestRecorder(t *testing.T) {
	s := newSite(t)
	for _, addr := range []string{target4 + ":7", "[" + target6 + "]:7"} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if c, err := s.client.DialContext(ctx, "tcp", addr); err == nil {
			_ = c.Close()
			t.Fatalf("%s has another way to %s than hop 1", s.client.Namespace(), addr)
		}
		cancel()
	}
	stop := s.run(s.client, "[[listen]]\naddress = \"127.0.0.1:1080\"\n[[route]]\nto = \"direct\"\n[timeouts]\ndial = \"2s\"\n", "127.0.0.1:1080")
	s.fails("direct", s.by(socks.Hop5("127.0.0.1:1080", socks.HopOptions{})), "tcp", "a.example:7")
	stop()
	seen, noise := s.astray.Seen()
	for _, want := range []string{"tcp to " + target4 + ":7", "tcp to [" + target6 + "]:7", "udp to 192.0.2.53:53", "udp to [2001:db8::53]:53"} {
		if !strings.Contains(strings.Join(seen, "\n")+"\n", want+"\n") {
			t.Errorf("the recorder missed %q; it saw %q and %d of the kernel's own", want, seen, noise)
		}
	}
}

// TestNothingGoesAstray asks byway for everything, by every protocol.
func TestNothingGoesAstray(t *testing.T) {
	s := newSite(t)
	stop := s.run(s.client, fmt.Sprintf(config, strings.TrimSuffix(s.hop.Addr(1080), ":1080")), "127.0.0.1:1080")
	for name, d := range s.speakers("127.0.0.1:1080") {
		s.passes(name, d, "tcp", target4+":7")
		if name != "socks4" {
			s.passes(name, d, "tcp", "a.example:7")
			for _, host := range []string{"x.blocked.example", "x.dead.example", "x.late.example", "x.gone.example", "x.old.example", "unknown.example"} {
				s.fails(name, d, "tcp", host+":7")
			}
		}
		if !strings.HasPrefix(name, "socks4") {
			s.passes(name, d, "tcp", "["+target6+"]:7")
			s.fails(name, d, "tcp", "[2001:db8:ffff::1]:7")
		}
		s.fails(name, d, "tcp", "203.0.113.1:7") // blocked
		s.fails(name, d, "tcp", "192.0.2.200:7") // nowhere
	}
	early := s.speakers("127.0.0.1:1081")
	s.passes("early", early["socks5"], "tcp", "early.example:7")
	s.fails("early", early["socks5"], "tcp", "x.dead.example:7")
	s.fails("early", early["connect"], "tcp", "x.gone.example:7")
	s.udp()
	s.pages()
	s.forwards()
	s.commands()
	s.questions()
	s.standIns()
	s.directServer()
	s.end()
	for name, d := range s.speakers("127.0.0.1:1080") {
		s.fails(name+" when hop 1 has gone", d, "tcp", target4+":7")
	}
	s.fails("forward when hop 1 has gone", s.client, "udp", "127.0.0.1:2001")
	s.asks("127.0.0.1:53", "udp", "late.names.example", "")
	stop()
	s.refusesToStart()
	if seen, noise := s.astray.Seen(); len(seen) > 0 {
		t.Errorf("%d packets went astray: %q (and %d of the kernel's own to its link)", len(seen), seen, noise)
	}
}

// udp asks for flows.
func (s *site) udp() {
	d := s.by(socks.Hop5("127.0.0.1:1080", socks.HopOptions{}))
	s.passes("udp", d, "udp", "b.example:7")
	s.passes("udp", d, "udp", target4+":7")
	s.passes("udp", d, "udp", "["+target6+"]:7")
	for _, addr := range []string{"x.blocked.example:7", "203.0.113.1:7", "x.gone.example:53", "unknown.example:7", "192.0.2.53:53"} {
		s.fails("udp", d, "udp", addr)
	}
}

// pages asks for plain HTTP.
func (s *site) pages() {
	proxy := &url.URL{Scheme: "http", Host: "127.0.0.1:1080"}
	tr := &http.Transport{Proxy: http.ProxyURL(proxy), DialContext: s.client.DialContext, DisableKeepAlives: true}
	for host, want := range map[string]int{"c.example": 200, "x.blocked.example": 403, "x.dead.example": 502, "x.gone.example": 502, "x.old.example": 0, "unknown.example": 0} {
		r, _ := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+host+"/", http.NoBody)
		resp, err := tr.RoundTrip(r)
		if err != nil {
			s.t.Errorf("page of %s: %v", host, err)
			continue
		}
		_ = resp.Body.Close()
		if want != 0 && resp.StatusCode != want || want == 0 && resp.StatusCode < 400 {
			s.t.Errorf("page of %s: status %d, want %d", host, resp.StatusCode, want)
		}
	}
}

func (s *site) forwards() {
	s.passes("forward", s.client, "tcp", "127.0.0.1:2000")
	s.passes("forward", s.client, "udp", "127.0.0.1:2001")
}

// commands sends the further commands of SOCKS5: BIND, and Tor's RESOLVE and RESOLVE_PTR.
func (s *site) commands() {
	for _, q := range []struct {
		what    string
		request string
		granted bool
	}{
		{"RESOLVE", "\x05\xf0\x00\x03\x09d.example\x00\x00", true},
		{"RESOLVE of a blocked name", "\x05\xf0\x00\x03\x11x.blocked.example\x00\x00", false},
		{"RESOLVE by a dead hop", "\x05\xf0\x00\x03\x0ex.dead.example\x00\x00", false},
		{"RESOLVE_PTR", "\x05\xf1\x00\x01\xc6\x33\x64\x07\x00\x00", true},
		{"BIND", "\x05\x02\x00\x03\x09e.example\x00\x07", false},
		{"an unknown command", "\x05\x77\x00\x03\x09e.example\x00\x07", false},
	} {
		c, err := s.client.DialContext(s.t.Context(), "tcp", "127.0.0.1:1080")
		if err != nil {
			s.t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(c, "\x05\x01\x00"+q.request)
		reply := make([]byte, 4)
		if _, err := io.ReadFull(c, reply); err != nil || reply[0] != 5 || (reply[3] == 0) != q.granted {
			s.t.Errorf("%s: answered % x, %v", q.what, reply, err)
		}
		_ = c.Close()
	}
}

// refusesToStart has byway read what must not run.
func (s *site) refusesToStart() {
	hop := "[[listen]]\naddress = \"127.0.0.1:1080\"\n[[hop]]\nname = \"one\"\nurl = \"socks5://" + s.hop.Addr(1080) + "\"\n"
	for what, text := range map[string]string{
		"a chain that is not there": hop + "[[route]]\nto = \"wey\"\n",
		"a hop that is not there":   hop + "[[chain]]\nname = \"way\"\nhops = [\"on\"]\n[[route]]\nto = \"way\"\n",
		"an empty chain":            hop + "[[chain]]\nname = \"way\"\nhops = []\n[[route]]\nto = \"way\"\n",
		"an empty group":            hop + "[[group]]\nname = \"way\"\nmembers = []\n[[route]]\nto = \"way\"\n",
	} {
		cmd, out := s.command(s.client, text)
		err := cmd.Run()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
			s.t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
}
