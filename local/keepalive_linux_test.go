package local

import (
	"net"
	"syscall"
	"testing"
)

// TestKeepAlives: an accepted conn has those that net gives by default.
func TestKeepAlives(t *testing.T) {
	usual := accepted(t, &net.ListenConfig{})
	ours := accepted(t, &net.ListenConfig{KeepAlive: keepAlive, Control: keepAlives})
	if ours != usual || ours[0] != 1 {
		t.Errorf("SO_KEEPALIVE, IDLE, INTVL, CNT and TCP_NODELAY are %v, net's are %v", ours, usual)
	}
}

// accepted returns the options of a conn that c's listener accepted.
func accepted(t *testing.T, c *net.ListenConfig) (options [5]int) {
	t.Helper()
	l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for i, o := range [5][2]int{
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT},
			{syscall.IPPROTO_TCP, syscall.TCP_NODELAY},
		} {
			v, err := syscall.GetsockoptInt(int(fd), o[0], o[1])
			if err != nil {
				t.Error(err)
			}
			options[i] = v
		}
	})
	if err != nil {
		t.Error(err)
	}
	return options
}
