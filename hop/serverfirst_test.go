package hop_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/byway-proxy/byway/chain"
	byssh "github.com/byway-proxy/byway/hop/ssh"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/socks"
)

// servers are all kinds of hops.
var servers = map[string]server{
	"socks5, serial":    serveSOCKS(socks.Hop5, socks.Off),
	"socks5, pipelined": serveSOCKS(socks.Hop5, socks.On),
	"socks5, auto":      serveSOCKS(socks.Hop5, socks.Auto),
	"socks4":            serveSOCKS(socks.Hop4, socks.Auto),
	"socks4a":           serveSOCKS(socks.Hop4a, socks.Auto),
	"http":              servePlain,
	"https, HTTP/1.1":   serveTLS(false),
	"https, HTTP/2":     serveTLS(true),
	"ssh":               serveSSH,
}

// TestServerFirst: a target that speaks first, as those of ssh and smtp do, while its
// client waits for that, is heard as soon with an early reply as without; and then
// each hears what the other says.
func TestServerFirst(t *testing.T) {
	for name, last := range servers {
		t.Run(name, func(t *testing.T) {
			var took [2]time.Duration
			for i, early := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					p := newPath(t, 2, socks.On, last)
					accept(t, p.Host(target), ":7", func(c net.Conn) {
						_, _ = io.WriteString(c, "220 ready\r\n")
						echo(c)
					})
					d := p.app(t, early, false)
					firstByte(t, d, "")         // a session is made, an ability learnt
					time.Sleep(5 * time.Second) // meanwhile
					took[i] = firstByte(t, d, "")
					conn, err := d.DialContext(t.Context(), "tcp", target+":7")
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					buf := make([]byte, 11)
					if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "220 ready\r\n" {
						t.Errorf("the banner was %q, %v", buf, err)
					}
					_, _ = io.WriteString(conn, "EHLO")
					_ = chain.CloseWrite(conn)
					if got, err := io.ReadAll(conn); err != nil || string(got) != "EHLO" {
						t.Errorf("then %q, %v", got, err)
					}
				})
			}
			if took[0] != took[1] || took[0] == 0 {
				t.Errorf("the first byte took %v with the true reply, and %v with an early one", took[0], took[1])
			}
		})
	}
}

// TestEarlyReplyThatFails: on every kind of hop a client that was told yes sees a
// reset when the target refuses, whether it spoke or not.
func TestEarlyReplyThatFails(t *testing.T) {
	for name, last := range servers {
		for _, say := range []string{"", "hello"} {
			t.Run(name+"/"+say, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPath(t, 2, socks.On, last)
					conn, err := p.app(t, true, false).DialContext(t.Context(), "tcp", target+":7") // which nobody listens on
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					_, _ = io.WriteString(conn, say)
					if n, err := conn.Read(make([]byte, 1)); n != 0 || chain.Errno(err) == 0 || errors.Is(err, io.EOF) {
						t.Errorf("the client read %d bytes, %v", n, err)
					}
				})
			})
		}
	}
}

func servePlain(t *testing.T, h *testnet.Host, addr string, r *relay.Relay) chain.Hop {
	s := &httpproxy.Server{Relay: r}
	accept(t, h, ":1080", func(c net.Conn) { _ = s.ServeConn(t.Context(), c) })
	return httpproxy.Hop(addr, httpproxy.HopOptions{})
}

// serveSSH is a server of direct-tcpip that dials by itself, and not by r.
func serveSSH(t *testing.T, h *testnet.Host, addr string, _ *relay.Relay) chain.Hop {
	o := byssh.Options{User: user, Password: password, Pins: []string{startSSH(t, h)}}
	hop, err := byssh.Hop(addr, o)
	if err != nil {
		t.Fatal(err)
	}
	return hop
}

// hostKey is that of all SSH servers here.
var hostKey = sync.OnceValue(func() ssh.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		panic(err)
	}
	return signer
})

// startSSH starts a server for the user at port 1080 of h, and returns the fingerprint of its key.
func startSSH(t *testing.T, h *testnet.Host) string {
	cfg := &ssh.ServerConfig{PasswordCallback: func(c ssh.ConnMetadata, said []byte) (*ssh.Permissions, error) {
		if c.User() != user || string(said) != password {
			return nil, errors.New("no")
		}
		return nil, nil
	}}
	cfg.AddHostKey(hostKey())
	var (
		mu    sync.Mutex
		conns []net.Conn
	)
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			_ = c.Close()
		}
	})
	accept(t, h, ":1080", func(c net.Conn) {
		mu.Lock()
		conns = append(conns, c)
		mu.Unlock()
		_, chans, reqs, err := ssh.NewServerConn(c, cfg)
		if err != nil {
			_ = c.Close()
			return
		}
		go ssh.DiscardRequests(reqs)
		for ch := range chans {
			go forward(t, h, ch)
		}
	})
	return ssh.FingerprintSHA256(hostKey().PublicKey())
}

func forward(t *testing.T, h *testnet.Host, c ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		Originator string
		From       uint32
	}
	_ = ssh.Unmarshal(c.ExtraData(), &to)
	out, err := h.DialContext(t.Context(), "tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		_ = c.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	ch, reqs, err := c.Accept()
	if err != nil {
		_ = out.Close()
		return
	}
	go ssh.DiscardRequests(reqs)
	go func() {
		_, _ = io.Copy(out, ch)
		_ = chain.CloseWrite(out)
	}()
	_, _ = io.Copy(ch, out)
	_ = ch.CloseWrite()
	_ = ch.Close()
	_ = out.Close()
}
