//go:build interop

package interop

import (
	"fmt"
	"net"
	"testing"
)

// TestHAProxy has clients come by haproxy, a load balancer that tells byway of them by
// either version of the PROXY protocol: whom it tells of decides, and not haproxy's
// own address.
func TestHAProxy(t *testing.T) {
	path, err := find("haproxy")
	need(t, path, err)
	w, err := website()
	w = need(t, w, err)
	_, down := payloads()
	for version, option := range map[string]string{"1": "send-proxy", "2": "send-proxy-v2"} {
		t.Run("v"+version, func(t *testing.T) {
			b := runByway(t, `
[[listen]]
address = "127.0.0.1:0"
proxy_protocol = ["127.0.0.0/8"]
[[route]]
client = ["127.0.0.2"]
to = "direct"
`, nil)
			balancer := startHAProxy(t, path, b.addr, option)
			for _, scheme := range []string{"socks5h", "socks4a", "http"} {
				get := func(from string) result {
					return client(t, nil, nil, "curl", "-q", "-sS", "-p", "--max-time", "50", "--interface", from, "-x", scheme+"://"+balancer, w.url(byAddress, "/payload"))
				}
				r := get("127.0.0.2")
				if err := same(r.stdout, down); err != nil || r.code != 0 {
					t.Errorf("%s: status %d, %v: %s", scheme, r.code, err, r.stderr)
				}
				for _, from := range []string{"127.0.0.1", "127.0.0.3"} {
					if r := get(from); r.code == 0 || len(r.stdout) > 0 {
						t.Errorf("%s: %s is let through", scheme, from)
					}
				}
			}
			b.awaitLine(t, `msg=failed .*via=block error="blocked by a rule"`)
			// Who is listed and sends no header is nobody's client.
			if c, err := b.tunnel()(t.Context(), net.JoinHostPort(byAddress, w.port)); err == nil {
				_ = c.Close()
				t.Error("a conn without a header is served")
			}
		})
	}
}

// startHAProxy puts haproxy before addr, for one test.
func startHAProxy(t *testing.T, path, addr, option string) (balancer string) {
	t.Helper()
	balancer, _, err := reserved()
	must(t, err)
	_, file, err := config("haproxy", option+".cfg", fmt.Sprintf(`
global
    log stderr format raw daemon
defaults
    mode tcp
    timeout connect 20s
    timeout client 60s
    timeout server 60s
listen byway
    bind %s
    server byway %s %s
`, balancer, addr, option))
	must(t, err)
	_, err = lab.server(balancer, path, "-db", "-f", file)
	must(t, err)
	return balancer
}
