package ssh

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestConns runs the conformance suite, save for what SSH has no word for.
func TestConns(t *testing.T) {
	ends := make(chan net.Conn, 1)
	s := serve(t, testnet.Listen(t), func(_ string, c ssh.NewChannel) { ends <- accepted(t, c) })
	d := s.dialer(testnet.Only(t, &net.Dialer{}, s.addr), s.options())
	testnet.TestConn(t, func(t *testing.T) (a, b net.Conn) {
		if strings.Contains(t.Name(), "/Abort") {
			t.Skip("SSH has no reset of a channel: see the package's documentation")
		}
		a, err := d.DialContext(t.Context(), "tcp", "target.example:80")
		if err != nil {
			t.Fatal(err)
		}
		return a, <-ends
	})
	if n := s.count(); n != 1 {
		t.Errorf("%d connections for all tunnels", n)
	}
}

// TestAbortEndsAtOnce has an abort drop what the peer has not taken.
func TestAbortEndsAtOnce(t *testing.T) {
	ends := make(chan net.Conn, 1)
	s := serve(t, testnet.Listen(t), func(_ string, c ssh.NewChannel) { ends <- accepted(t, c) })
	a := dial(t, s.dialer(&net.Dialer{}, s.options()))
	b := <-ends
	_ = a.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = a.Write(make([]byte, 8<<20)) // more than the window
	_ = chain.Abort(a)
	if n, err := io.Copy(io.Discard, b); n >= 8<<20 {
		t.Errorf("read all %d bytes, %v", n, err)
	}
	_ = b.Close()
}

// TestNamesTravel makes sure that targets reach the server as they are.
func TestNamesTravel(t *testing.T) {
	var mu sync.Mutex
	var got []string
	s := serve(t, testnet.Listen(t), func(to string, c ssh.NewChannel) {
		mu.Lock()
		got = append(got, to)
		mu.Unlock()
		_ = c.Reject(ssh.ConnectionFailed, "Connection refused")
	})
	d := s.dialer(testnet.Only(t, &net.Dialer{}, s.addr), s.options())
	want := []string{"name.invalid:80", "192.0.2.1:65535", "[2001:db8::1]:22"}
	for _, to := range want {
		_, err := d.Dial("tcp", to)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v", to, err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the server was asked for %q", got)
	}
	for _, bad := range []string{"", "a", ":80", "a:0", "a:65536", "a:http", "a b:80", "a\x00:80", strings.Repeat("a", 256) + ":80"} {
		if _, err := d.Dial("tcp", bad); err == nil || bad != "" && len(bad) > 3 && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := d.Dial("udp", "a:53"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("udp: %v", err)
	}
}

// TestRefusals maps a server's words to errno, and tells none of them.
func TestRefusals(t *testing.T) {
	var mu sync.Mutex
	var reason ssh.RejectionReason
	var text string
	s := serve(t, testnet.Listen(t), func(_ string, c ssh.NewChannel) {
		mu.Lock()
		defer mu.Unlock()
		_ = c.Reject(reason, text)
	})
	d := s.dialer(&net.Dialer{}, s.options())
	for _, test := range []struct {
		reason ssh.RejectionReason
		text   string
		want   syscall.Errno
	}{
		{ssh.ConnectionFailed, "Connection refused", syscall.ECONNREFUSED},
		{ssh.ConnectionFailed, "Connection timed out", syscall.ETIMEDOUT},
		{ssh.ConnectionFailed, "No route to host", syscall.EHOSTUNREACH},
		{ssh.ConnectionFailed, "Network is unreachable", syscall.ENETUNREACH},
		{ssh.ConnectionFailed, "Name or service not known", syscall.EHOSTUNREACH},
		{ssh.ConnectionFailed, "Temporary failure in name resolution", syscall.EHOSTUNREACH},
		{ssh.ConnectionFailed, "secret.example is odd", syscall.EHOSTUNREACH},
		{ssh.Prohibited, "open failed", syscall.EACCES},
		{ssh.UnknownChannelType, "", syscall.EOPNOTSUPP},
		{ssh.ResourceShortage, "secret.example", 0},
		{99, "secret.example", 0},
	} {
		mu.Lock()
		reason, text = test.reason, test.text
		mu.Unlock()
		_, err := d.Dial("tcp", "secret.example:80")
		var e *chain.Error
		if !errors.As(err, &e) || e.Phase != chain.PhaseConnect || chain.Errno(err) != test.want {
			t.Errorf("%v %q: %v, errno %v", test.reason, test.text, err, chain.Errno(err))
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "%!") {
			t.Errorf("the error tells %q", err)
		}
	}
	if n := s.count(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestGivenUpTunnel has the server take its time over one that nobody waits for.
func TestGivenUpTunnel(t *testing.T) {
	asked, hold := make(chan struct{}), make(chan struct{})
	ends := make(chan net.Conn, 1)
	s := serve(t, testnet.Listen(t), func(_ string, c ssh.NewChannel) {
		close(asked)
		<-hold
		ends <- accepted(t, c)
	})
	d := s.dialer(&net.Dialer{}, s.options())
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		<-asked
		cancel(context.DeadlineExceeded)
	}()
	_, err := d.DialContext(ctx, "tcp", "target.example:80")
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("error %v", err)
	}
	close(hold)
	b := <-ends
	if n, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the server read %d bytes, %v of a tunnel that was given up", n, err)
	}
	_ = b.Close()
}

func FuzzRefusal(f *testing.F) {
	f.Add(uint32(2), "Connection refused")
	f.Fuzz(func(t *testing.T, reason uint32, text string) {
		r := refusalOf(&ssh.OpenChannelError{Reason: ssh.RejectionReason(reason), Message: "secret.example " + text})
		if r.Error() == "" || strings.Contains(r.Error(), "secret") {
			t.Errorf("tells %q", r)
		}
	})
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"a:1", "[::1]:22", "a:0", ":1", "a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		to, err := parseTarget(addr)
		if err != nil {
			return
		}
		if to.host == "" || to.port == 0 || strings.ContainsAny(to.host, "\x00\r\n ") {
			t.Errorf("%q became %q, %d", addr, to.host, to.port)
		}
		if len(to.request()) != 4+len(to.host)+4+4+len("127.0.0.1")+4 {
			t.Error("the request is of another length")
		}
	})
}

func FuzzPin(f *testing.F) {
	f.Add("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU")
	f.Fuzz(func(t *testing.T, s string) {
		if CheckPin(s) == nil && (len(s) != 50 || !strings.HasPrefix(s, pinPrefix)) {
			t.Errorf("%q was taken", s)
		}
	})
}
