//go:build interop

package interop

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/byway-proxy/byway/internal/testnet"
)

// promptly is how long a client may wait while others do their worst.
const promptly = 200 * time.Millisecond

// wantPrompt has a client that is new each time ask for the website and for a tunnel, over
// and over while hostile lasts, and at least rounds times.
func wantPrompt(t *testing.T, e peer, target string, rounds int, hostile <-chan struct{}) {
	t.Helper()
	var took []time.Duration
	pace := time.NewTicker(50 * time.Millisecond) // each leaves two ports behind for a while
	defer pace.Stop()
	for over := false; !over || len(took) < rounds; <-pace.C {
		start := time.Now()
		c := &http.Client{
			Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
			Timeout:   10 * time.Second,
		}
		res, err := c.Get("https://" + e.addr + "/")
		must(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		must(t, err)
		must(t, res.Body.Close())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		tunnel, err := e.direct()(ctx, target)
		must(t, err)
		got, err := ask(tunnel, []byte("hello"), 5)
		if err != nil || string(got) != "hello" {
			t.Errorf("through the tunnel came %q, %v", got, err)
		}
		_ = tunnel.Close()
		cancel()
		took = append(took, time.Since(start))
		select {
		case <-hostile:
			over = true
		default:
		}
	}
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	t.Logf("%d requests and tunnels: median %v, worst %v", len(took), median, worst)
	if median > promptly {
		t.Errorf("a request and a tunnel took %v, want less than %v", median, promptly)
	}
}

// TestSlowClients has slowhttptest hold conns open in each of its ways, all at a time.
func TestSlowClients(t *testing.T) {
	path, err := find("slowhttptest")
	path = need(t, path, err)
	e, _ := runEgress(t, toLoopback)
	echo := testnet.Listen(t)
	go testnet.Echo(echo)
	const seconds = 8
	over := make(chan struct{})
	var all []*process
	for _, mode := range []string{"-H", "-B", "-R", "-X"} {
		p, err := launch(path, mode, "-c", "500", "-r", "250", "-i", "1", "-l", strconv.Itoa(seconds), "-u", "https://"+e.addr+"/")
		must(t, err)
		all = append(all, p)
	}
	go func() {
		defer close(over)
		for _, p := range all {
			<-p.done
		}
	}()
	wantPrompt(t, e, echo.Addr().String(), 9, over)
	for _, p := range all {
		_ = p.stop()
	}
}

// TestFlood holds 5,000 conns that are silent, or stop within a handshake.
func TestFlood(t *testing.T) {
	const conns = 5000
	e, _ := runEgress(t, toLoopback)
	echo := testnet.Listen(t)
	go testnet.Echo(echo)
	began := []byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3} // a record that holds a ClientHello, and its first bytes
	for i := range conns {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 72, byte(i>>8), byte(i)|1)}, Timeout: 10 * time.Second}
		c, err := d.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(fmt.Errorf("conn %d: %w", i, err))
		}
		defer func() {
			_ = c.(*net.TCPConn).SetLinger(0) // leaves no port behind
			_ = c.Close()
		}()
		if i%2 == 0 {
			_, err = c.Write(began)
			must(t, err)
		}
	}
	over := make(chan struct{})
	close(over)
	wantPrompt(t, e, echo.Addr().String(), 15, over)
}
