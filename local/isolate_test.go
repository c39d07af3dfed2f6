package local

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/proxy"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestIsolation counts identities by what a listener isolates by, with an app that changes
// its name where nobody asks for it.
func TestIsolation(t *testing.T) {
	for isolate, want := range map[string]int{
		"":                       2,
		`isolate = ["user"]`:     2,
		`isolate = ["listener"]`: 1,
		`isolate = ["target"]`:   2,
		`isolate = ["listener", "user", "client", "target"]`: 4,
	} {
		exit := socksServer(t, chain.DialerFunc(func(ctx context.Context, network, _ string) (net.Conn, error) {
			a, b := testnet.TCPPair(t)
			_ = b.Close()
			return a, nil
		}))
		var mu sync.Mutex
		keys := make(map[string]bool)
		base := chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			keys[chain.IdentityOf(ctx).Key] = true
			mu.Unlock()
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		})
		config := strings.Replace(through(exit), "address = \"127.0.0.1:0\"\n", "address = \"127.0.0.1:0\"\n"+isolate+"\n", 1)
		addr := serve(t, config, base)
		for _, user := range []string{"one", "two"} {
			var auth *proxy.Auth
			if isolate != `isolate = ["listener"]` && isolate != `isolate = ["target"]` {
				auth = &proxy.Auth{User: user, Password: "x"}
			}
			d, err := proxy.SOCKS5("tcp", addr, auth, proxy.Direct)
			if err != nil {
				t.Fatal(err)
			}
			for _, target := range []string{"a.example:7", "b.example:7"} {
				c, err := d.Dial("tcp", target)
				if err != nil {
					t.Fatal(err)
				}
				_ = c.Close()
			}
		}
		mu.Lock()
		if len(keys) != want {
			t.Errorf("%s: %d identities, want %d", isolate, len(keys), want)
		}
		mu.Unlock()
	}
}
