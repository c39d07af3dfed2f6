package ssh

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/stream"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestMain lets pass what link.request tells of.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("golang.org/x/crypto/ssh.(*mux).openChannel"))
}

// newKey makes a key, and writes it to a file, locked if there is a passphrase.
func newKey(t testing.TB, passphrase string) (ssh.Signer, string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "test")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "test", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer, file
}

// server is an SSH server with direct-tcpip, whose user alice has a key.
type server struct {
	t    testing.TB
	cfg  *ssh.ServerConfig
	host ssh.Signer
	key  string // alice's
	addr string
	l    net.Listener

	open func(target string, c ssh.NewChannel) // what becomes of a request for a tunnel

	mu     sync.Mutex
	conns  []*ssh.ServerConn
	logins int
}

// serve starts a server on l. It ends with the test.
func serve(t testing.TB, l net.Listener, open func(string, ssh.NewChannel)) *server {
	t.Helper()
	host, _ := newKey(t, "")
	user, file := newKey(t, "")
	s := &server{t: t, host: host, key: file, addr: l.Addr().String(), l: l, open: open}
	s.cfg = &ssh.ServerConfig{
		PublicKeyCallback: func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if m.User() != "alice" || string(key.Marshal()) != string(user.PublicKey().Marshal()) {
				return nil, errors.New("no")
			}
			return nil, nil
		},
		PasswordCallback: func(m ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if m.User() != "alice" || string(password) != "open sesame" {
				return nil, errors.New("no")
			}
			return nil, nil
		},
	}
	s.cfg.AddHostKey(host)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.conn(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.kill()
		wg.Wait()
	})
	return s
}

func (s *server) conn(c net.Conn) {
	defer c.Close()
	s.mu.Lock()
	cfg := s.cfg
	s.mu.Unlock()
	conn, chans, reqs, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.conns = append(s.conns, conn)
	s.logins++
	s.mu.Unlock()
	go ssh.DiscardRequests(reqs)
	for c := range chans {
		var to struct {
			Host       string
			Port       uint32
			Originator string
			From       uint32
		}
		if err := ssh.Unmarshal(c.ExtraData(), &to); err != nil || c.ChannelType() != "direct-tcpip" {
			s.t.Errorf("asked for %s: %v", c.ChannelType(), err)
			_ = c.Reject(ssh.UnknownChannelType, "")
			continue
		}
		go s.open(net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))), c)
	}
}

// kill cuts every connection.
func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// known writes a file in which the server's key is key.
func (s *server) known(key ssh.PublicKey) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(knownhosts.Line([]string{s.addr}, key)+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// options are those of alice.
func (s *server) options() Options {
	return Options{User: "alice", Keys: []string{s.key}, KnownHosts: s.known(s.host.PublicKey())}
}

// dialer returns the chain of the hop alone.
func (s *server) dialer(next chain.Dialer, o Options) *chain.Chain {
	s.t.Helper()
	h, err := Hop(s.addr, o)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := chain.New(next, h)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// farEnd is a channel of the server's side as a stream.
type farEnd struct{ ssh.Channel }

func (f farEnd) Write(p []byte) (int, error) {
	n, err := f.Channel.Write(p)
	if err != nil {
		err = syscall.EPIPE
	}
	return n, err
}

// accepted says yes, and returns the server's end.
func accepted(t testing.TB, c ssh.NewChannel) net.Conn {
	ch, reqs, err := c.Accept()
	if err != nil {
		t.Error(err)
		return nil
	}
	go ssh.DiscardRequests(reqs)
	return stream.NewConn(farEnd{ch}, testnet.Addr("far:1"), testnet.Addr("near:1"))
}

// echo answers each tunnel with what it carries.
func echo(t testing.TB) func(string, ssh.NewChannel) {
	return func(_ string, c ssh.NewChannel) {
		conn := accepted(t, c)
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if n > 0 {
				_, _ = conn.Write(buf[:n])
			}
			if err != nil {
				_ = chain.CloseWrite(conn)
				_ = conn.Close()
				return
			}
		}
	}
}

// ping sends a word and wants it back.
func ping(t testing.TB, c net.Conn) {
	t.Helper()
	word := fmt.Appendf(nil, "hello %p", c)
	if _, err := c.Write(word); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(word))
	for at := 0; at < len(buf); {
		n, err := c.Read(buf[at:])
		if err != nil {
			t.Fatal(err)
		}
		at += n
	}
	if string(buf) != string(word) {
		t.Errorf("got %q", buf)
	}
}

func dial(t testing.TB, d chain.Dialer) net.Conn {
	t.Helper()
	c, err := d.DialContext(context.Background(), "tcp", "target.example:80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
