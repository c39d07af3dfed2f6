//go:build interop

package interop

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/armon/go-socks5"
)

// TestTorsocks has programs that know nothing of proxies resolve a name and get a
// page, by way of torsocks. The last hop resolves no names: a DNS server is asked
// through it. The addresses there are known to the last hop alone.
func TestTorsocks(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	_, err = find("torsocks")
	need(t, 0, err)
	dns := dnsServer(t, net.IPv4(192, 0, 2, 80))
	s, err := socks5.New(&socks5.Config{
		Logger:   log.New(io.Discard, "", 0),
		Resolver: anyName{}, // it looks at the name before the command
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			switch host, port, _ := net.SplitHostPort(addr); host {
			case "192.0.2.53":
				return (&net.Dialer{}).DialContext(ctx, network, dns.String())
			case "192.0.2.80":
				return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
			}
			return nil, fmt.Errorf("the exit was asked for %s", addr)
		},
	})
	must(t, err)
	addr, err := lab.accept(func(c net.Conn) { _ = s.ServeConn(c) })
	must(t, err)
	text, files := chainConfig(peer{name: "exit", scheme: "socks5", addr: addr})
	text = strings.Replace(text, "[[route]]", "dns = \"192.0.2.53:53\"\n[[route]]", 1)
	b := runByway(t, text, files)
	host, port, _ := net.SplitHostPort(b.addr)
	config := filepath.Join(t.TempDir(), "torsocks.conf")
	must(t, os.WriteFile(config, []byte(fmt.Sprintf("TorAddress %s\nTorPort %s\nOnionAddrRange 127.42.42.0/24\n", host, port)), 0o644))
	env := append(os.Environ(), "TORSOCKS_CONF_FILE="+config)
	r := client(t, nil, env, "torsocks", "getent", "ahostsv4", "site.torsocks.test")
	if fields := strings.Fields(string(r.stdout)); r.code != 0 || len(fields) < 2 || fields[0] != "192.0.2.80" {
		t.Errorf("getent: status %d, %q: %s", r.code, r.stdout, r.stderr)
	}
	_, down := payloads()
	r = client(t, nil, env, "torsocks", "curl", "-q", "-sS", "--fail", "--max-time", "50", w.url("site.torsocks.test", "/payload"))
	if err := same(r.stdout, down); err != nil || r.code != 0 {
		t.Errorf("curl: status %d, %v: %s", r.code, err, r.stderr)
	}
}

// anyName resolves to an address that is of no use.
type anyName struct{}

func (anyName) Resolve(ctx context.Context, _ string) (context.Context, net.IP, error) {
	return ctx, net.IPv4(192, 0, 2, 99), nil
}
