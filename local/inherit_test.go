//go:build unix

package local

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/internal/sockets"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestInherit: a socket that was handed over serves in place of one of our own, at the address of the
// file; one that is reachable from elsewhere is refused as ours would be.
func TestInherit(t *testing.T) {
	given, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := given.Addr().String()
	file := func(l net.Listener) *sockets.Activated {
		t.Helper()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		a, err := sockets.Activate([]*os.File{f})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(a.Close)
		return a
	}
	s, err := New(parse(t, fmt.Sprintf("[[listen]]\naddress = %q\n", at)), testnet.NoDial(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a := file(given)
	s.Inherit(a)
	// given is open: a port of our own could not be had.
	listeners, _, err := s.Listen(t.Context())
	if err != nil || listeners[0].String() != at || a.Left() != nil {
		t.Fatalf("%v, %v; left %q", listeners, err, a.Left())
	}
	_ = given.Close()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()

	open, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	_, port, _ := net.SplitHostPort(open.Addr().String())
	p := &plan{config: parse(t, "[[listen]]\naddress = \"127.0.0.1:1\"\n"), sockets: file(open)}
	if l, err := p.openTCP(t.Context(), ":"+port, false, "listen[0].address"); err == nil || !strings.Contains(err.Error(), "which other machines can reach") {
		t.Errorf("%v, %v", l, err)
	}
}
