package httpproxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/byway-proxy/byway/internal/testnet"
)

// sizes notes the length of each write.
type sizes struct {
	net.Conn
	of  []int
	err error
}

func (s *sizes) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.of = append(s.of, len(p))
	return s.Conn.Write(p)
}

// TestBatch: four records of TLS leave in one write, and a failure of that is one of
// the write that they are of.
func TestBatch(t *testing.T) {
	a, b := testnet.Pipe(0)
	defer b.Close()
	far := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{testCert()}})
	raw := &sizes{Conn: a}
	below := &batched{Conn: raw}
	cfg := trust(testCert())
	cfg.ServerName = "hop1"
	conn := &sessionConn{tls.Client(below, cfg), below}
	defer conn.Close()
	want := bytes.Repeat([]byte("0123456789"), 10000)
	got := make(chan []byte, 1)
	go func() {
		buf := make([]byte, 2*len(want))
		_, _ = io.ReadFull(far, buf)
		got <- buf
	}()
	if err := conn.Conn.(*tls.Conn).Handshake(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		raw.of = nil
		if n, err := conn.Write(want); n != len(want) || err != nil {
			t.Fatal(n, err)
		}
		if len(raw.of) != 2 || raw.of[0]+raw.of[1] <= len(want) {
			t.Errorf("writes of %d bytes for %d", raw.of, len(want))
		}
	}
	if !bytes.Equal(<-got, append(want, want...)) {
		t.Error("other bytes came")
	}
	raw.err = errors.New("cut")
	if _, err := conn.Write(want); !errors.Is(err, raw.err) {
		t.Errorf("error %v", err)
	}
	if conn.NetConn() != net.Conn(raw) || below.NetConn() != net.Conn(raw) {
		t.Error("the conn below is another")
	}
}
