//go:build unix

package local

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/internal/sockets"
	"github.com/byway-proxy/byway/internal/testnet"
)

// atSocket is the configuration of through, listening at a socket.
func atSocket(hop, path, more string) string {
	return strings.Replace(through(hop), `address = "127.0.0.1:0"`, fmt.Sprintf("address = \"unix:%s\"\n%s", path, more), 1)
}

// TestSocketListener speaks every protocol at a socket.
func TestSocketListener(t *testing.T) {
	hop := socksServer(t, echo(t))
	path := filepath.Join(t.TempDir(), "x.sock")
	if at := serve(t, atSocket(hop, path, ""), testnet.Only(t, &net.Dialer{}, hop)); at != path {
		t.Errorf("listens at %s", at)
	}
	for name, greeting := range map[string][2]string{
		"SOCKS4a": {"\x04\x01\x00\x07\x00\x00\x00\x01me\x00target.example\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00"},
		"SOCKS5":  {"\x05\x01\x00\x05\x01\x00\x03\x0etarget.example\x00\x07", "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"},
		"CONNECT": {"CONNECT target.example:7 HTTP/1.1\r\nHost: target.example:7\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"},
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, greeting[0]); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(greeting[1]))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != greeting[1] {
			t.Fatalf("%s: answer %q, %v", name, got, err)
		}
		checkEcho(t, c)
		_ = c.Close()
	}
}

// TestSocketHasNoUDP refuses an association, as there is no address for datagrams.
func TestSocketHasNoUDP(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	serve(t, "[[listen]]\naddress = \"unix:"+path+"\"\n[[route]]\nto = \"direct\"\n", &net.Dialer{})
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00")
	if got, err := io.ReadAll(c); err != nil || string(got) != "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00" {
		t.Errorf("answer %q, %v", got, err)
	}
}

// TestSocketPeers lets in whom the rule names, and nobody else gets a word.
func TestSocketPeers(t *testing.T) {
	if !sockets.TellsPeer {
		t.Skip("this system does not tell who connects")
	}
	for more, want := range map[string]bool{
		"":                          true,
		"allow_uids = [2147483647]": false,
		fmt.Sprintf("allow_uids = [%d]", os.Geteuid()): true,
		"mode = \"0666\"\nallow_uids = [2147483647]":   false,
		"mode = \"0666\"\nopen = true":                 true,
	} {
		hop := socksServer(t, echo(t))
		path := filepath.Join(t.TempDir(), "x.sock")
		base := testnet.NoDial(t)
		if want {
			base = testnet.Only(t, &net.Dialer{}, hop)
		}
		serve(t, atSocket(hop, path, more), base)
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "\x05\x01\x00\x05\x01\x00\x03\x0etarget.example\x00\x07")
		n, _ := io.ReadFull(c, make([]byte, 12))
		_ = c.Close()
		if want != (n == 12) || !want && n > 0 {
			t.Errorf("%q: answered %d bytes, let in: %v", more, n, want)
		}
	}
}

// TestListenTaken tells of what can't be listened on at its place, and leaves
// nothing open.
func TestListenTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	l, err := sockets.Listen(t.Context(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tcp := testnet.Listen(t).Addr().String()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	forward := "[[forward]]\ntarget = \"a.example:1\"\nto = \"direct\"\n"
	for text, want := range map[string]string{
		"[[listen]]\naddress = \"unix:" + path + "\"\n":                                "byway.toml:5:11: listen[1].address: cannot be listened on: another program serves it",
		"[[listen]]\naddress = \"unix:" + path + ".d/x\"\n":                            "byway.toml:5:11: listen[1].address: cannot be listened on: no such file or directory",
		forward + "listen = \"" + tcp + "\"\n":                                         "byway.toml:7:10: forward[0].listen: cannot be listened on: ",
		forward + "network = \"udp\"\nlisten = \"" + udp.LocalAddr().String() + "\"\n": "byway.toml:8:10: forward[0].listen: cannot be listened on: ",
	} {
		free := filepath.Join(t.TempDir(), "free.sock")
		s, err := New(parse(t, "[[listen]]\naddress = \"unix:"+free+"\"\n\n"+text), &net.Dialer{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
		if _, err := os.Lstat(free); err == nil {
			t.Errorf("%s: the first listener is left open", want)
		}
	}
}
