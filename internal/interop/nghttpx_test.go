//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/byway-proxy/byway/internal/testnet"
)

// nghttpx is nghttp2's proxy: its HTTP/2 is not Go's, knows nothing of our capsules
// and has windows of 64 KiB. It passes CONNECT on to squid.
func nghttpx(t *testing.T) peer {
	t.Helper()
	path, err := find("nghttpx")
	need(t, path, err)
	behind, err := squid()
	behind = need(t, behind, err)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, selfSigned(cert, key, "nghttpx.test"))
	addr, port, err := reserved()
	must(t, err)
	_, err = lab.server(addr, path, "--conf=/dev/null", "--http2-proxy", "--frontend=127.0.0.1,"+port,
		"--backend="+strings.Replace(behind.addr, ":", ",", 1), "--workers=1", key, cert)
	must(t, err)
	return peer{name: "nghttpx", scheme: "https", addr: addr, more: fmt.Sprintf("[hop.tls]\nca = %q\nserver_name = \"nghttpx.test\"\n", cert)}
}

// TestNghttpxControl measures what nghttpx makes of each exchange for net/http's
// client, without byway, and holds a chain of it to that: each direction that is whole for
// one is whole for the other.
func TestNghttpxControl(t *testing.T) {
	n := nghttpx(t)
	b := runChain(t, n)
	alone := func(ctx context.Context, target string) (duplex, error) { return dialHTTP2(ctx, n, target) }
	var wg sync.WaitGroup
	// Some never end with this proxy, and are waited for: half as long as where all must.
	ctx, cancel := context.WithTimeout(t.Context(), exchangeLimit/2)
	defer cancel()
	for _, e := range exchanges {
		wg.Go(func() {
			var want, got outcome
			var errs [2]error
			both(
				func() { want, errs[0] = e.run(ctx, alone, "127.0.0.1") },
				func() { got, errs[1] = e.run(ctx, peer{scheme: "socks5", addr: b.addr}.direct(), "127.0.0.1") },
			)
			t.Logf("%s, without byway: %v; with byway: %v", e.name, want, got)
			if err := errors.Join(errs[:]...); err != nil {
				t.Errorf("%s: %v", e.name, err)
				return
			}
			if e.name == bothEnd {
				return // a peer that ends both directions is in a race there
			}
			if want.up == nil && got.up != nil || want.down == nil && got.down != nil {
				t.Errorf("%s: %v; without byway: %v", e.name, got, want)
			}
		})
	}
	wg.Wait()
}

// TestNghttpx has an HTTP/2 proxy that is not ours as a hop: alone, with what
// TestNghttpxControl shows it to do, and before an egress, where every exchange must pass.
func TestNghttpx(t *testing.T) {
	n := nghttpx(t)
	w, err := website()
	w = need(t, w, err)
	e, err := egress()
	e = need(t, e, err)
	_, down := payloads()
	b := runChain(t, n)
	var wg sync.WaitGroup
	for range 8 { // on one session; it is the website that ends first
		wg.Go(func() {
			r := client(t, nil, nil, "curl", "-q", "-0", "-sS", "--max-time", "50", "-x", "socks5h://"+b.addr, w.url(byAddress, "/payload"))
			if err := same(r.stdout, down); err != nil || r.code != 0 {
				t.Errorf("status %d, %v: %s", r.code, err, r.stderr)
			}
		})
	}
	wg.Wait()
	refusal(t, b, "http", testnet.Refusing(t), 502)

	b = runChain(t, n, e)
	for _, in := range []string{"socks5", "http"} {
		for _, e := range exchanges {
			wg.Go(func() {
				o, err := e.run(t.Context(), peer{scheme: in, addr: b.addr}.direct(), "127.0.0.1")
				if err != nil {
					t.Errorf("by %s, %s: %v", in, e.name, err)
				} else if err := o.judge(e, passes{true, true, true}); err != nil {
					t.Errorf("by %s, %s: %v: %v", in, e.name, o, err)
				}
			})
		}
	}
	wg.Wait()
}
