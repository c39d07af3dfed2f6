package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/hop"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

// oneHop is a configuration whose one hop has more keys, and that has a direct rule
// for nobody.
func oneHop(url, more string) string {
	return fmt.Sprintf("[[listen]]\naddress = \"127.0.0.1:0\"\n[[hop]]\nname = \"h\"\nurl = %q\n%s\n"+
		"[[chain]]\nname = \"c\"\nhops = [\"h\"]\n[[route]]\nto = \"c\"\n", url, more)
}

// binder is a base that tells what it was asked to keep to, and dials only then.
type binder struct {
	chain.Dialer
	asked []hop.Base
	bound chain.Dialer
}

func (b *binder) Bind(o hop.Base) (chain.Dialer, error) {
	b.asked = append(b.asked, o)
	if b.bound == nil {
		return nil, errors.New("no such way")
	}
	return b.bound, nil
}

// TestBoundBase has the dialer for a bound hop 1 dial it, and the other dial nothing.
func TestBoundBase(t *testing.T) {
	exit := socksServer(t, echo(t))
	b := &binder{Dialer: testnet.NoDial(t), bound: testnet.Only(t, &net.Dialer{}, exit)}
	s, err := New(parse(t, oneHop("socks5://"+exit, "interface = \"eth1\"\nsource = \"192.0.2.7\"\nmark = 51")), b, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := s.now().table[0].To.DialContext(t.Context(), "tcp", "target.example:7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	checkEcho(t, c)
	if len(b.asked) != 1 || b.asked[0].Interface != "eth1" || b.asked[0].Mark != 51 || b.asked[0].Source.String() != "192.0.2.7" {
		t.Errorf("asked for %+v", b.asked)
	}
	if got, want := s.Paths()[0].Heads[0].Reach, exit+", by interface eth1, from 192.0.2.7, with mark 51"; got != want {
		t.Errorf("reached %q, want %q", got, want)
	}
}

// TestUnboundBase makes sure that a base which can't keep to the file is an error.
func TestUnboundBase(t *testing.T) {
	for _, base := range []chain.Dialer{
		testnet.NoDial(t), &binder{Dialer: testnet.NoDial(t)}, &net.Dialer{LocalAddr: &net.TCPAddr{}},
	} {
		for key, value := range map[string]string{"interface": `"eth1"`, "source": `"192.0.2.7"`, "mark": "51", "tcp_congestion": `"bbr"`} {
			_, err := New(parse(t, oneHop("socks5://192.0.2.1", key+" = "+value)), base, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("byway.toml:6:%d: hop \"h\": %s: ", len(key)+4, key)) {
				t.Errorf("%T, %s: %v", base, key, err)
			}
		}
	}
}

// TestCongestionIsSaid asks for what no kernel has: it works, and is told once.
func TestCongestionIsSaid(t *testing.T) {
	exit := socksServer(t, echo(t))
	var log bytes.Buffer
	text := oneHop("socks5://"+exit, "tcp_congestion = \"byway-none\"") + "[[chain]]\nname = \"d\"\nhops = [\"h\"]\n"
	s, err := New(parse(t, text), &net.Dialer{}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := s.now().table[0].To.DialContext(t.Context(), "tcp", "target.example:7")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if n := strings.Count(log.String(), "byway-none"); n != 1 {
		t.Errorf("said %d times: %s", n, &log)
	}
	if got := s.Paths()[0].Heads[0].Reach; !strings.Contains(got, "byway-none") {
		t.Errorf("reached %q", got)
	}
}

// TestUnixHop goes through a SOCKS server at a socket.
func TestUnixHop(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths of sockets have no drive letters in a URL")
	}
	path := filepath.Join(t.TempDir(), "x.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := &socks.Server{Relay: &relay.Relay{Router: route.Table{{To: echo(t), Via: "direct"}}}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = served.ServeConn(context.Background(), c) }()
		}
	}()
	defer served.Relay.Close()
	defer l.Close()
	s, err := New(parse(t, oneHop("socks5+unix://"+path, "")), testnet.Only(t, &net.Dialer{}, path), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := s.now().table[0].To.DialContext(t.Context(), "tcp", "target.example:7")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "hello")
	_ = chain.CloseWrite(c)
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	_ = c.Close()
	if got, want := s.Paths()[0].Heads[0].Reach, path+", a socket of this machine"; got != want {
		t.Errorf("reached %q, want %q", got, want)
	}
}

// TestBadSSH looks at the places of errors that show only when files are read.
func TestBadSSH(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	for more, want := range map[string]string{
		"known_hosts = \"nowhere\"\nkey = \"secret\"": `byway.toml:7:15: hop "h": ssh.known_hosts: `,
		"known_hosts = \"secret\"\nkey = \"secret\"":  `byway.toml:7:15: hop "h": ssh.known_hosts: `,
		pinned + "key = [\"secret\"]":                 `byway.toml:8:8: hop "h": ssh.key[0]: `,
		pinned + "key = \"nowhere\"":                  `byway.toml:8:7: hop "h": ssh.key`,
		pinned + "agent = true":                       `byway.toml:8:9: hop "h": ssh.agent: the environment has no SSH_AUTH_SOCK`,
	} {
		_, err := New(parse(t, oneHop("ssh://alice@192.0.2.1", "[hop.ssh]\n"+more)), testnet.NoDial(t), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nerror %v\nwant  %s", more, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("%v tells what is in a file", err)
		}
	}
	c := parse(t, oneHop("ssh://alice:sesame@host.example", "[hop.ssh]\n"+pinned))
	s, err := New(c, testnet.NoDial(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

const pinned = "pin = \"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\"\n"
