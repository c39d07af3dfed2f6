//go:build interop

package interop

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/byway-proxy/byway/internal/testnet"
)

// sshHop is OpenSSH's server as a hop, reached at addr, whose host key is in a file
// made from the public key at host.
func sshHop(t *testing.T, addr, host string) peer {
	t.Helper()
	s, err := opensshd()
	s = need(t, s, err)
	dir, err := lab.folder("ssh")
	must(t, err)
	if host == "" {
		host = filepath.Join(dir, "host.pub")
	}
	if addr == "" {
		addr = s.addr
	}
	public, err := os.ReadFile(host)
	must(t, err)
	name, port, err := net.SplitHostPort(addr)
	must(t, err)
	known := filepath.Join(t.TempDir(), "known_hosts")
	must(t, os.WriteFile(known, fmt.Appendf(nil, "[%s]:%s %s", name, port, public), 0o600))
	return peer{name: "ssh", scheme: "ssh", addr: addr, more: fmt.Sprintf(
		"user = %q\n[hop.ssh]\nknown_hosts = %q\nkey = %q\n", s.user, known, filepath.Join(dir, "user"))}
}

// TestSSHHop sends payloads through OpenSSH's server, alone and with other hops, in
// every kind of exchange.
func TestSSHHop(t *testing.T) {
	s := sshHop(t, "", "")
	d, err := dante()
	d = need(t, d, err)
	e, err := egress()
	e = need(t, e, err)
	for _, chain := range [][]peer{{s}, {d, s}, {s, d}, {s, e}, {e, s}, {s, s}} {
		var names []string
		for _, p := range chain {
			names = append(names, p.name)
		}
		t.Run(strings.Join(names, ">"), func(t *testing.T) {
			t.Parallel()
			b := runChain(t, chain...)
			for _, in := range []struct{ scheme, host string }{{"socks5", "127.0.0.1"}, {"http", "localhost"}} {
				var wg sync.WaitGroup
				for _, e := range exchanges {
					wg.Go(func() {
						o, err := e.run(t.Context(), peer{scheme: in.scheme, addr: b.addr}.direct(), in.host)
						if err != nil {
							t.Errorf("by %s, %s: %v", in.scheme, e.name, err)
						} else if err := o.judge(e, passes{true, true, true}); err != nil {
							t.Errorf("by %s, %s: %v: %v", in.scheme, e.name, o, err)
						}
					})
				}
				wg.Wait()
			}
		})
	}
}

// TestSSHHopRefusals has the server's words become the client's.
func TestSSHHopRefusals(t *testing.T) {
	b := runChain(t, sshHop(t, "", ""))
	refusal(t, b, "socks5", testnet.Refusing(t), 5)
	refusal(t, b, "http", testnet.Refusing(t), 502)
	refusal(t, b, "socks5", "name.invalid:80", 4)
	b.awaitLine(t, `hop 1/1 ssh-1: connect: connection refused`)
	b.awaitLine(t, `hop 1/1 ssh-1: connect: the server does not resolve the name`)
}

// TestSSHHopOfAnotherKey has the server show a key that is not the one in the file.
func TestSSHHopOfAnotherKey(t *testing.T) {
	s, err := opensshd()
	need(t, s, err)
	other := filepath.Join(t.TempDir(), "other")
	must(t, runQuiet("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "interop", "-f", other))
	b := runChain(t, sshHop(t, "", other+".pub"))
	refusal(t, b, "socks5", testnet.Refusing(t), 1)
	b.awaitLine(t, `hop 1/1 ssh-1: auth: the server's host key is ssh-ed25519 SHA256:.* this may be another server`)
}

// wire is a forward to addr that can be cut.
type wire struct {
	addr string
	mu   sync.Mutex
	all  []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w := &wire{addr: l.Addr().String()}
	t.Cleanup(func() {
		_ = l.Close()
		w.cut()
	})
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			w.mu.Lock()
			w.all = append(w.all, near, far)
			w.mu.Unlock()
			go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
			go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
		}
	}()
	return w
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.all {
		_ = c.Close()
	}
	w.all = nil
}

// TestSSHHopReconnects cuts the connection under a tunnel, which must not look like
// the target's end of it, and opens the next one.
func TestSSHHopReconnects(t *testing.T) {
	s, err := opensshd()
	s = need(t, s, err)
	w := newWire(t, s.addr)
	b := runChain(t, sshHop(t, w.addr, ""))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	for range 3 {
		c, err := b.tunnel()(t.Context(), l.Addr().String())
		must(t, err)
		if got, err := ask(c, []byte("hello"), 5); err != nil || string(got) != "hello" {
			t.Fatalf("%q, %v", got, err)
		}
		w.cut()
		if n, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("read %d bytes, error %v of a tunnel that was cut", n, err)
		}
		_ = c.Close()
	}
}
