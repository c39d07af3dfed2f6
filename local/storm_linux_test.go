package local

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/socks"
)

// storm is a configuration of which everything changes from one version to the next,
// and every third of which is wrong.
func storm(version int, hops [2]string) string {
	var b strings.Builder
	b.WriteString("[[listen]]\naddress = \"127.0.0.1:0\"\n")
	if version%2 == 1 {
		b.WriteString("early_reply = true\n[[listen]]\naddress = \"127.0.0.1:0\"\n")
	}
	fmt.Fprintf(&b, "[[hop]]\nname = \"a\"\nurl = \"socks5://%s\"\nhandshake_timeout = \"%ds\"\n", hops[version/2%2], 10+version%5)
	fmt.Fprintf(&b, "[[chain]]\nname = \"c\"\nhops = [\"a\"]\nspares = %d\n", version%3)
	fmt.Fprintf(&b, "[[route]]\nto = \"block\"\ndomain = \"x%d.example\"\n[[route]]\nto = \"c\"\n", version)
	fmt.Fprintf(&b, "[timeouts]\ndrain = \"5s\"\nidle = \"%dm\"\n[limits]\nhandshakes = %d\ntunnels = 4000\ntunnels_per_client = 4000\n", 10+version, 2000+version)
	if version%3 == 2 {
		return strings.Replace(b.String(), `to = "c"`, `to = "d"`, 1)
	}
	return b.String()
}

// TestReloadStorm: under a thousand tunnels that carry checked bytes, and with new ones
// all the while, the configuration changes a hundred times. Nobody notices.
func TestReloadStorm(t *testing.T) {
	const tunnels, reloads, newcomers = 1000, 100, 4
	far := echo(t)
	hops := [2]string{socksServer(t, far), socksServer(t, far)}
	dir := t.TempDir()
	load := func(version int) (*configs.Client, error) {
		return configs.ParseClient(filepath.Join(dir, "byway.toml"), []byte(storm(version, hops)))
	}
	first, err := load(0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(first, &net.Dialer{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	listeners, _, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	app, err := chain.New(&net.Dialer{}, socks.Hop5(listeners[0].String(), socks.HopOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	open := func(id uint64) (net.Conn, error) {
		c, err := app.DialContext(t.Context(), "tcp", "target.example:7")
		if err == nil {
			err = checked(c, id, 64)
		}
		return c, err
	}
	start := openNow(t)
	all := make([]net.Conn, tunnels)
	for i := range all {
		if all[i], err = open(uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	goroutines, files := runtime.NumGoroutine(), openNow(t)

	var over atomic.Bool
	var opened atomic.Int64
	var wg sync.WaitGroup
	for i := range newcomers {
		wg.Go(func() {
			for n := 0; !over.Load(); n++ {
				c, err := open(uint64(tunnels + n*newcomers + i))
				if err != nil {
					t.Errorf("a new tunnel: %v", err)
					return
				}
				opened.Add(1)
				_ = c.Close()
			}
		})
		wg.Go(func() { // and the old ones, each in its turn
			for n := 0; !over.Load(); n++ {
				at := (n*newcomers + i) % tunnels
				if err := checked(all[at], rand.Uint64(), 16<<rand.IntN(12)); err != nil {
					t.Errorf("tunnel %d: %v", at, err)
					return
				}
			}
		})
	}
	failed := 0
	for version := 1; version <= reloads; version++ {
		before := opened.Load()
		if _, err := s.ReloadFrom(t.Context(), func() (*configs.Client, error) { return load(version) }); err != nil {
			failed++
		}
		for opened.Load() < before+2 && !t.Failed() { // somebody comes between any two
			runtime.Gosched()
		}
	}
	over.Store(true)
	wg.Wait()
	if failed != reloads/3 {
		t.Errorf("%d reloads failed", failed)
	}
	for i, c := range all {
		if err := checked(c, uint64(i), 64); err != nil {
			t.Errorf("tunnel %d, in the end: %v", i, err)
		}
	}
	t.Logf("%d new tunnels; goroutines %d, then %d; descriptors %d, then %d", opened.Load(), goroutines, runtime.NumGoroutine(), files, openNow(t))
	for _, c := range all {
		_ = c.Close()
	}
	// What the tunnels held is given back; a spare that is kept ready has two ends.
	for began := time.Now(); openNow(t) > start+2*8; runtime.Gosched() {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("%d descriptors, %d at the beginning", openNow(t), start)
		}
	}
}

// openNow counts the open descriptors.
func openNow(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
