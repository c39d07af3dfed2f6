//go:build unix

package sockets

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// TestActivated: sockets are found by their addresses, whatever their order, each once.
func TestActivated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	var files []*os.File
	add := func(l interface{ File() (*os.File, error) }, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	add(tcp, err)
	defer tcp.Close()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	add(udp, err)
	defer udp.Close()
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	add(unix, err)
	defer unix.Close()
	a, err := Activate(files)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	port := strconv.Itoa(tcp.Addr().(*net.TCPAddr).Port)
	for _, other := range []string{"127.0.0.2:" + port, ":" + port, "127.0.0.1:1", "other.example:" + port, "x.sock", port, udp.LocalAddr().String()} {
		if l := a.Listener(other); l != nil {
			t.Errorf("%s is %v", other, l.Addr())
		}
	}
	l := a.Listener("localhost:" + port)
	if l == nil || a.Listener("127.0.0.1:"+port) != nil {
		t.Fatal("not found, or found twice")
	}
	if got := a.Left(); !slices.Equal(got, []string{path, udp.LocalAddr().String()}) {
		t.Errorf("left: %q", got)
	}
	p, u := a.PacketConn(udp.LocalAddr().String()), a.Listener(path)
	if p == nil || u == nil || a.PacketConn("127.0.0.1:1") != nil || len(a.Left()) != 0 {
		t.Fatal("not found")
	}
	// The port is open all the while: who connects when the first has closed is served by the second.
	_ = tcp.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, _, _ = c.Close(), s.Close(), l.Close(), p.Close(), u.Close()
}

// TestActivatedForOthers: what was opened for another process, or is no socket, is not taken.
func TestActivatedForOthers(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	a, err := TakeActivated()
	if err != nil || a.Left() != nil || os.Getenv("LISTEN_FDS") != "" {
		t.Errorf("%v, %v", a.Left(), err)
	}
	t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("LISTEN_FDS", "x")
	if _, err := TakeActivated(); err == nil {
		t.Error("no number was taken for one")
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Activate([]*os.File{f}); err == nil {
		t.Error("no socket was taken for one")
	}
	var none *Activated
	if none.Listener("127.0.0.1:1") != nil || none.PacketConn("127.0.0.1:1") != nil || none.Left() != nil {
		t.Error("nil has some")
	}
	none.Close()
}
