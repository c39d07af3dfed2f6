package testnet

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
)

// refuses dials addr and wants nobody there.
func refuses(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err == nil {
		_ = c.Close()
		t.Errorf("%s takes conns", addr)
	} else if runtime.GOOS != "windows" && !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%s does not refuse: %v", addr, err)
	}
}

// TestRefusing has nobody get the port, asked for or not, until it is given back.
func TestRefusing(t *testing.T) {
	addr, release, err := Refuse()
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, addr)
	if l, err := net.Listen("tcp", addr); err == nil {
		_ = l.Close()
		t.Errorf("%s can be listened at", addr)
	}
	refuses(t, addr)
	release()
	refuses(t, Refusing(t))
}

// TestReserved has a server take its port, go, and come back.
func TestReserved(t *testing.T) {
	addr := Reserved(t)
	if !sharesBound {
		t.Skip("this system does not keep a port for another")
	}
	refuses(t, addr)
	for range 2 {
		l, err := net.Listen("tcp", addr) // with SO_REUSEADDR
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Close(), l.Close()
		refuses(t, addr)
	}
}
