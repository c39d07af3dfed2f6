package testnet

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"testing"

	"github.com/byway-proxy/byway/chain"
)

// The steps of which the conformance tests are made.

func write(t *testing.T, c net.Conn, data []byte) {
	t.Helper()
	if n, err := c.Write(data); err != nil || n != len(data) {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(data), err)
	}
}

func closeWrite(t *testing.T, c net.Conn) {
	t.Helper()
	cw, ok := c.(chain.CloseWriter)
	if !ok {
		t.Fatalf("%T has no CloseWrite", c)
	}
	if err := cw.CloseWrite(); err != nil {
		t.Fatalf("CloseWrite: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantTimeout(t *testing.T, n int, err error) {
	t.Helper()
	var ne net.Error
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Fatalf("got %d bytes, error %v; want none and os.ErrDeadlineExceeded", n, err)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return b
}
