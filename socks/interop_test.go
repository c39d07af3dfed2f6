package socks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	socks5 "github.com/armon/go-socks5"
	"golang.org/x/net/proxy"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// echoServer returns the address of an echo over TCP.
func echoServer(t *testing.T) string {
	l := testnet.Listen(t)
	acceptAll(t, l, echo)
	return l.Addr().String()
}

// TestArmonServer goes through armon/go-socks5 in every manner. That it reads
// from a bufio.Reader makes it take pipelined handshakes.
func TestArmonServer(t *testing.T) {
	target := echoServer(t)
	for _, o := range []HopOptions{
		{},
		{Pipeline: On},
		{Pipeline: Off},
		{User: "ann", Password: "secret"},
		{User: "ann", Password: "secret", Pipeline: On},
		{User: "ann", Password: "secret", Pipeline: Off},
	} {
		conf := &socks5.Config{Logger: log.New(io.Discard, "", 0)}
		if o.User != "" {
			conf.Credentials = socks5.StaticCredentials{"ann": "secret"}
		}
		s, err := socks5.New(conf)
		must(t, err)
		l := testnet.Listen(t)
		acceptAll(t, l, func(c net.Conn) { _ = s.ServeConn(c) })
		c := newChain(t, new(net.Dialer), Hop5(l.Addr().String(), o))
		conn, err := c.Dial("tcp", target)
		if err != nil {
			t.Errorf("%+v: %v", o, err)
			continue
		}
		pingPong(t, conn)
		conn, err = c.Dial("tcp", testnet.Refusing(t))
		wantFailure(t, conn, err, chain.PhaseConnect, refused)
		if o.User != "" {
			o.Password = "wrong"
			conn, err = newChain(t, new(net.Dialer), Hop5(l.Addr().String(), o)).Dial("tcp", target)
			wantFailure(t, conn, err, chain.PhaseAuth, errRejected)
		}
	}
}

// TestXNetClient has golang.org/x/net/proxy for a client.
func TestXNetClient(t *testing.T) {
	target := echoServer(t)
	for _, auth := range []*proxy.Auth{nil, {User: "ann", Password: "secret"}} {
		s := &Server{Relay: via(new(net.Dialer))}
		if auth != nil {
			s.Users = users(t, map[string]string{"ann": "secret"})
		}
		l := testnet.Listen(t)
		acceptAll(t, l, serving(t, s))
		d, err := proxy.SOCKS5("tcp", l.Addr().String(), auth, proxy.Direct)
		must(t, err)
		conn, err := d.Dial("tcp", target)
		must(t, err)
		_, err = conn.Write([]byte("hello"))
		must(t, err)
		got := make([]byte, 5)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
			t.Errorf("the echo was %q, %v", got, err)
		}
		must(t, conn.Close())
		_, err = d.Dial("tcp", "127.0.0.1:1")
		if err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("error %v for a port that refuses", err)
		}
		if auth != nil {
			d, err = proxy.SOCKS5("tcp", l.Addr().String(), &proxy.Auth{User: "ann", Password: "wrong"}, proxy.Direct)
			must(t, err)
			if _, err = d.Dial("tcp", target); err == nil || !strings.Contains(err.Error(), "authentication failed") {
				t.Errorf("error %v for a wrong password", err)
			}
		}
	}
}

// program finds one that we did not write; in CI it must be there.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing", name)
		}
		t.Skipf("%s is missing", name)
	}
	return path
}

// reserved returns an address for a server that is told its port, and the port.
func reserved(t *testing.T) (addr, port string) {
	t.Helper()
	addr = testnet.Reserved(t)
	_, port, err := net.SplitHostPort(addr)
	must(t, err)
	return addr, port
}

// start runs a server until it listens at addr, which is reserved for it.
func start(t *testing.T, addr, name string, arg ...string) {
	t.Helper()
	cmd := exec.Command(name, arg...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop := func() { _ = cmd.Process.Kill(); <-ended }
	t.Cleanup(stop)
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
		select {
		case <-ended:
			t.Fatalf("%s has ended: %s", name, out.String())
		default:
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			must(t, c.Close())
			return
		}
	}
	stop()
	t.Fatalf("%s does not listen: %s", name, out.String())
}

// TestMicrosocks has a server that drops what follows the greeting in its segment.
func TestMicrosocks(t *testing.T) {
	path := program(t, "microsocks")
	target := echoServer(t)
	addr, port := reserved(t)
	start(t, addr, path, "-i", "127.0.0.1", "-p", port)
	for _, pipeline := range []Pipeline{Off, Auto, Auto} {
		conn, err := newChain(t, new(net.Dialer), Hop5(addr, HopOptions{Pipeline: pipeline})).Dial("tcp", target)
		must(t, err)
		pingPongNoHalfClose(t, conn)
	}
	// Once learnt, it is as fast as serial.
	c := newChain(t, new(net.Dialer), Hop5(addr, HopOptions{}))
	for i := range 5 {
		began := time.Now()
		conn, err := c.Dial("tcp", target)
		must(t, err)
		if took := time.Since(began); i > 0 && took > 200*time.Millisecond {
			t.Errorf("dial %d took %v: it was hedged", i, took)
		}
		pingPongNoHalfClose(t, conn)
	}
	conn, err := c.Dial("tcp", "127.0.0.1:1")
	wantFailure(t, conn, err, chain.PhaseConnect, refused)

	addr, port = reserved(t)
	start(t, addr, path, "-i", "127.0.0.1", "-p", port, "-u", "ann", "-P", "secret")
	conn, err = newChain(t, new(net.Dialer), Hop5(addr, HopOptions{User: "ann", Password: "secret"})).Dial("tcp", target)
	must(t, err)
	pingPongNoHalfClose(t, conn)
	conn, err = newChain(t, new(net.Dialer), Hop5(addr, HopOptions{User: "ann", Password: "wrong", Pipeline: Off})).Dial("tcp", target)
	wantFailure(t, conn, err, chain.PhaseAuth, errRejected)
}

// pingPongNoHalfClose is pingPong for servers that end both directions at once.
func pingPongNoHalfClose(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Write([]byte("hello"))
	must(t, err)
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("the echo was %q, %v", got, err)
	}
	must(t, c.Close())
}

// TestDante goes through danted by SOCKS5 and SOCKS4.
func TestDante(t *testing.T) {
	path := program(t, "danted")
	target := echoServer(t)
	addr, port := reserved(t)
	conf := t.TempDir() + "/danted.conf"
	must(t, os.WriteFile(conf, fmt.Appendf(nil, `
logoutput: stderr
internal: 127.0.0.1 port = %s
external: lo
clientmethod: none
socksmethod: none
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`, port), 0o600))
	start(t, addr, path, "-f", conf, "-p", conf+".pid", "-N", "1")
	for name, hop := range map[string]chain.Hop{
		"serial": Hop5(addr, HopOptions{Pipeline: Off}), "pipelined": Hop5(addr, HopOptions{Pipeline: On}),
		"auto": Hop5(addr, HopOptions{}), "4": Hop4(addr, HopOptions{}), "4a": Hop4a(addr, HopOptions{User: "ann"}),
	} {
		c := newChain(t, new(net.Dialer), hop)
		conn, err := c.Dial("tcp", target)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		pingPong(t, conn)
		if conn, err := c.Dial("tcp", "127.0.0.1:1"); err == nil {
			t.Errorf("%s: got %v from a port that refuses", name, conn)
		}
	}
}

// TestCurl fetches a page through a Server by each version.
func TestCurl(t *testing.T) {
	path := program(t, "curl")
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "page of "+r.Host) }))
	defer site.Close()
	asked := make(chan string, 1)
	s := &Server{Relay: via(chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
		asked <- addr
		return new(net.Dialer).DialContext(ctx, network, site.Listener.Addr().String())
	}))}
	l := testnet.Listen(t)
	acceptAll(t, l, serving(t, s))
	for scheme, want := range map[string]string{
		"socks5h": "name.test:80", "socks4a": "name.test:80", "socks5": "192.0.2.1:80", "socks4": "192.0.2.1:80",
	} {
		host := strings.TrimSuffix(want, ":80")
		out, err := exec.Command(path, "-sS", "-m", "10", "-x", scheme+"://"+l.Addr().String(), "http://"+host+"/").CombinedOutput()
		if err != nil || string(out) != "page of "+host {
			t.Errorf("%s: %v: %s", scheme, err, out)
			continue
		}
		if got := <-asked; got != want {
			t.Errorf("%s: asked for %s, want %s", scheme, got, want)
		}
	}
}
