package testnet

import (
	"io"
	"net"
	"testing"

	"github.com/byway-proxy/byway/chain"
)

// TCPPair returns the two ends of a TCP connection over loopback.
func TCPPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l := Listen(t)
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for {
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if accepted.RemoteAddr().String() == dialled.LocalAddr().String() {
			return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
		}
		_ = accepted.Close() // another test's, which took the port for one where nobody listens
	}
}

// Listen listens on a free loopback port until the test ends.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// Echo answers every conn of l with what it sent, half-close included, until l
// is closed.
func Echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			echo(c)
		}()
	}
}

func echo(c net.Conn) {
	if _, err := io.Copy(c, c); err == nil {
		_ = chain.CloseWrite(c)
	}
}
