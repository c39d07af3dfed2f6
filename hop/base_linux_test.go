package hop_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/hop"
	"github.com/byway-proxy/byway/internal/testnet"
)

// over dials a listener by way of b, and hands the socket to look.
func over(t *testing.T, b hop.Base, look func(fd int)) (net.Conn, error) {
	t.Helper()
	l := testnet.Listen(t)
	d, err := b.Dialer(&net.Dialer{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { look(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	return c, nil
}

func TestInterface(t *testing.T) {
	_, err := over(t, hop.Base{Interface: "lo"}, func(fd int) {
		if got, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err != nil || got != "lo" {
			t.Errorf("bound to %q, %v", got, err)
		}
	})
	if errors.Is(err, syscall.EPERM) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = over(t, hop.Base{Interface: "byway-none0"}, func(int) {})
	if !errors.Is(err, syscall.ENODEV) || !strings.Contains(chain.Reason(err), "byway-none0") {
		t.Errorf("an interface that is not there: %v", err)
	}
}

func TestMark(t *testing.T) {
	_, err := over(t, hop.Base{Mark: 51}, func(fd int) {
		if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK); err != nil || got != 51 {
			t.Errorf("mark %d, %v", got, err)
		}
	})
	if errors.Is(err, syscall.EPERM) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestSource(t *testing.T) {
	c, err := over(t, hop.Base{Source: netip.MustParseAddr("127.0.0.7")}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.LocalAddr().(*net.TCPAddr).IP.String(); got != "127.0.0.7" {
		t.Errorf("dialled from %s", got)
	}
	if _, err := over(t, hop.Base{Source: netip.MustParseAddr("192.0.2.7")}, func(int) {}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("from an address of others: %v", err)
	}
	d, err := hop.Base{Source: netip.MustParseAddr("127.0.0.7")}.Dialer(&net.Dialer{})
	if err != nil {
		t.Fatal(err)
	}
	u, err := d.DialContext(t.Context(), "udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if got := u.LocalAddr().(*net.UDPAddr).IP.String(); got != "127.0.0.7" {
		t.Errorf("udp from %s", got)
	}
	if _, err := d.DialContext(t.Context(), "unix", "/x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("unix: %v", err)
	}
}

// TestCongestion uses what every kernel has, and does without what none has.
func TestCongestion(t *testing.T) {
	for name, has := range map[string]bool{"reno": true, "byway-none": false} {
		b := hop.Base{Congestion: name}
		if err := b.Lacks(); (err == nil) != has {
			t.Errorf("%s: %v", name, err)
		}
		_, err := over(t, b, func(fd int) {
			got, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
			if got = strings.TrimRight(got, "\x00"); err != nil || (got == name) != has {
				t.Errorf("%s: uses %q, %v", name, got, err)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestBoundTwice(t *testing.T) {
	if _, err := (hop.Base{Mark: 1}).Dialer(&net.Dialer{LocalAddr: &net.TCPAddr{}}); err == nil {
		t.Error("a dialer that is bound was bound again")
	}
}
