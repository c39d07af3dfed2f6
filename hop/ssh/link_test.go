package ssh

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

func rsaKey(t testing.TB) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// TestOneConnection opens many tunnels at once.
func TestOneConnection(t *testing.T) {
	s := serve(t, testnet.Listen(t), echo(t))
	d := s.dialer(&net.Dialer{}, s.options())
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			c, err := d.Dial("tcp", "target.example:80")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			ping(t, c)
		})
	}
	wg.Wait()
	if n := s.count(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestReconnect kills the server mid-way: tunnels fail, and not as if their peer
// had ended them; the next dial connects anew.
func TestReconnect(t *testing.T) {
	s := serve(t, testnet.Listen(t), echo(t))
	d := s.dialer(&net.Dialer{}, s.options())
	for range 5 {
		c := dial(t, d)
		ping(t, c)
		s.kill()
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("read %d bytes, error %v of a tunnel that was cut", n, err)
		}
	}
	if n := s.count(); n != 5 {
		t.Errorf("%d connections", n)
	}
}

// TestStaleConnection dials on a connection that is dead and does not know it yet.
func TestStaleConnection(t *testing.T) {
	s := serve(t, testnet.Listen(t), echo(t))
	d := s.dialer(&net.Dialer{}, s.options())
	for i := range 20 {
		_ = dial(t, d).Close()
		s.kill() // d may see it before the next dial, or in it
		if i%2 == 1 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	ping(t, dial(t, d))
	_ = s.l.Close()
	s.kill()
	_, err := d.Dial("tcp", "target.example:80")
	var e *chain.Error
	if !errors.As(err, &e) || e.Phase != chain.PhaseDial || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("without a server: %v", err)
	}
}

// TestWaitersObeyTheirContexts has one dial of two give up on the same connection.
func TestWaitersObeyTheirContexts(t *testing.T) {
	s := serve(t, testnet.Listen(t), echo(t))
	gate := make(chan struct{})
	began := make(chan struct{}, 9)
	d := s.dialer(chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
		began <- struct{}{}
		select {
		case <-gate:
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}), s.options())
	ctx, cancel := context.WithCancel(context.Background())
	patient := make(chan error, 1)
	impatient := make(chan error, 1)
	go func() {
		_, err := d.DialContext(ctx, "tcp", "target.example:80")
		impatient <- err
	}()
	<-began
	go func() {
		c, err := d.Dial("tcp", "target.example:80")
		if err == nil {
			_ = c.Close()
		}
		patient <- err
	}()
	time.Sleep(10 * time.Millisecond)
	cancel()
	if err := <-impatient; !errors.Is(err, context.Canceled) {
		t.Errorf("the impatient got %v", err)
	}
	close(gate)
	if err := <-patient; err != nil {
		t.Errorf("the patient got %v", err)
	}
	if n := s.count(); n != 1 {
		t.Errorf("%d connections", n)
	}
	// What nobody waits for is given up.
	_ = d.Close()
	if _, err := d.Dial("tcp", "target.example:80"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestCloseSparesTunnels closes the dialer under a live tunnel.
func TestCloseSparesTunnels(t *testing.T) {
	s := serve(t, testnet.Listen(t), echo(t))
	d := s.dialer(&net.Dialer{}, s.options())
	c := dial(t, d)
	_ = d.Close()
	ping(t, c)
	_ = chain.CloseWrite(c)
	if got, err := io.ReadAll(c); err != nil || len(got) != 0 {
		t.Errorf("read %q, %v", got, err)
	}
	_ = c.Close()
	s.mu.Lock()
	conn := s.conns[0]
	s.mu.Unlock()
	_ = conn.Wait() // until the connection has ended, too
}
