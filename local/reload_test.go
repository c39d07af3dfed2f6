package local

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/socks"
)

// serveServer is serve, and returns the server too.
func serveServer(t testing.TB, c *configs.Client, base chain.Dialer) (s *Server, listeners, forwards []net.Addr) {
	t.Helper()
	s, err := New(c, base, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	listeners, forwards, err = s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, listeners, forwards
}

// nowhere reaches nothing, of either network.
type nowhere struct{}

func (nowhere) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, syscall.ENETUNREACH
}
func (nowhere) Carries(string) bool { return true }

// far is a configuration with one of everything that a reload can keep.
const far = `
[[listen]]
address = "127.0.0.1:0"
[[listen.user]]
name = "ann"
secret = { file = "secret" }
[[listen]]
address = "127.0.0.1:0"
[[forward]]
listen = "127.0.0.1:0"
target = "target.example:7"
to = "c"
[[forward]]
listen = "127.0.0.1:0"
target = "target.example:53"
to = "c"
network = "udp"
[[dns]]
listen = "127.0.0.1:0"
via = "c"
upstream = ["tcp://192.0.2.53"]
[[list]]
name = "ads"
url = "https://lists.example/ads"
via = "g"
file = "ads.txt"
[[hop]]
name = "a"
url = "socks5://192.0.2.1:1080"
[[hop]]
name = "b"
url = "https://192.0.2.2"
[hop.tls]
ca = "secret"
[[chain]]
name = "c"
hops = ["a"]
[[chain]]
name = "d"
hops = ["c", "b"]
[[group]]
name = "g"
members = ["c", "b"]
[[route]]
to = "block"
list = "ads"
[[route]]
to = "c"
`

// TestReloadKeeps: what is the same is not touched, and what is not is made anew.
func TestReloadKeeps(t *testing.T) {
	far := strings.NewReplacer("[hop.tls]\nca = \"secret\"\n", "", "ads.txt", filepath.Join(t.TempDir(), "ads.txt")).Replace(far)
	s, listeners, forwards := serveServer(t, parse(t, far), nowhere{})
	was, in := s.now(), s.in
	d, err := s.Reload(t.Context(), parse(t, "\n"+strings.Replace(far, `to = "block"`, "block = \"drop\"\nto = \"block\"", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if d != (Difference{Kept: 5, Chain: 3}) {
		t.Errorf("differs: %v", d)
	}
	for name, c := range was.chains {
		if s.now().chains[name] != c {
			t.Errorf("chain %s is another", name)
		}
	}
	if s.in.doors[0].role.Load() != in.doors[0].role.Load() || s.in.names[0] != in.names[0] || s.in.flows[0] != in.flows[0] {
		t.Error("an entrance is another")
	}
	if s.now().sources[0] != was.sources[0] || s.now().lists["ads"] != was.lists["ads"] {
		t.Error("the list is another")
	}
	for i, a := range append(listeners, forwards[0]) {
		if s.in.doors[i].Addr() != a {
			t.Errorf("door %d is at %v, not %v", i, s.in.doors[i].Addr(), a)
		}
	}
	for _, test := range []struct {
		name, old, new string
		want           Difference
	}{
		{"hop", "192.0.2.1:1080", "192.0.2.3:1080", Difference{Kept: 4, Opened: 1, Closed: 1, NewChains: 3, GoneChains: 3}},
		{"hop in some", "https://192.0.2.2", "https://192.0.2.4", Difference{Kept: 5, Chain: 1, NewChains: 2, GoneChains: 2}},
		{"chain", `hops = ["c", "b"]`, `hops = ["b"]`, Difference{Kept: 5, Chain: 2, NewChains: 1, GoneChains: 1}},
		{"no chain", "[[chain]]\nname = \"d\"\nhops = [\"c\", \"b\"]\n", "", Difference{Kept: 5, Chain: 2, GoneChains: 1}},
		{"no listener", "[[listen]]\naddress = \"127.0.0.1:0\"\n[[forward]]", "[[forward]]", Difference{Kept: 4, Closed: 1, Chain: 3}},
		{"no dns", "[[dns]]\nlisten = \"127.0.0.1:0\"\nvia = \"c\"\nupstream = [\"tcp://192.0.2.53\"]\n", "", Difference{Kept: 4, Closed: 1, Chain: 3}},
		{"dns", `tcp://192.0.2.53`, "tcp://192.0.2.54", Difference{Kept: 4, Closed: 1, Opened: 1, Chain: 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := s.Reload(t.Context(), parse(t, far)); err != nil {
				t.Fatal(err)
			}
			text := strings.Replace(far, test.old, test.new, 1)
			if text == far {
				t.Fatal("nothing is different")
			}
			if d, err := s.Reload(t.Context(), parse(t, text)); err != nil || d != test.want {
				t.Errorf("differs: %v, %v\nwant     %v", d, err, test.want)
			}
		})
	}
}

// TestReloadFiles: a hop whose files have changed is another hop.
func TestReloadFiles(t *testing.T) {
	c := parse(t, far)
	a, b := &plan{config: c, files: digests(c)}, &plan{config: c, files: digests(c)}
	if !same(a, b, "d") || !same(a, b, "g") {
		t.Error("the same is not the same")
	}
	b.files[c.Hops[1].TLS.CA] = [32]byte{1}
	if same(a, b, "d") || same(a, b, "g") || !same(a, b, "c") {
		t.Error("another certificate was not seen, or where there is none")
	}
}

// TestReloadRefused: whatever is wrong, all goes on as it was.
func TestReloadRefused(t *testing.T) {
	taken := testnet.Listen(t)
	good := through("192.0.2.1:1080")
	s, listeners, _ := serveServer(t, parse(t, good), testnet.NoDial(t))
	was, in := s.now(), s.in
	more := "[[listen]]\naddress = \"127.0.0.1:0\"\n"
	for name, text := range map[string]string{
		"port taken":      good + more + fmt.Sprintf("[[listen]]\naddress = %q\n", taken.Addr()),
		"forward taken":   good + more + fmt.Sprintf("[[forward]]\nlisten = %q\ntarget = \"a:1\"\nto = \"c\"\n", taken.Addr()),
		"no certificate":  good + more + "[listen.tls]\ncertificate = \"none\"\nkey = \"none\"\n",
		"list unreadable": good + more + "[[list]]\nname = \"l\"\nfile = \"none\"\n",
		"socket":          good + more + "[control]\nsocket = \"none/none/x.sock\"\n",
	} {
		_, err := s.Reload(t.Context(), parse(t, text))
		var wrong *configs.Error
		if !errors.As(err, &wrong) || wrong.Line == 0 {
			t.Errorf("%s: error %v", name, err)
		}
		if s.now() != was || s.in != in {
			t.Fatalf("%s: something moved", name)
		}
	}
	c, err := net.Dial("tcp", listeners[0].String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// TestReloadUsers: who was taken out of the file is out, also on a conn that was good before.
func TestReloadUsers(t *testing.T) {
	site := testnet.Listen(t)
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })}
	go func() { _ = web.Serve(site) }()
	t.Cleanup(func() { _ = web.Close() })
	with := func(user string) string {
		return fmt.Sprintf("[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen.user]]\nname = %q\nsecret = { file = \"secret\" }\n[[route]]\nto = \"direct\"\n", user)
	}
	s, listeners, _ := serveServer(t, parse(t, with("ann")), &net.Dialer{})
	c, err := net.Dial("tcp", listeners[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	br := bufio.NewReader(c)
	get := func(c net.Conn, br *bufio.Reader) (int, error) {
		r, _ := http.NewRequest(http.MethodGet, "http://"+site.Addr().String()+"/", nil)
		r.Header.Set("Proxy-Authorization", "Basic YW5uOm9wZW4gc2VzYW1l") // ann:open sesame
		if err := r.WriteProxy(c); err != nil {
			return 0, err
		}
		resp, err := http.ReadResponse(br, r)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, errors.Join(err, resp.Body.Close())
	}
	if code, err := get(c, br); code != 200 || err != nil {
		t.Fatalf("status %d, %v", code, err)
	}
	if _, err := s.Reload(t.Context(), parse(t, with("ann")+"# the same\n")); err != nil {
		t.Fatal(err)
	}
	if code, err := get(c, br); code != 200 || err != nil {
		t.Errorf("after a reload that changed nothing: status %d, %v", code, err)
	}
	if _, err := s.Reload(t.Context(), parse(t, with("bob"))); err != nil {
		t.Fatal(err)
	}
	if code, err := get(c, br); err == nil {
		t.Errorf("on the old conn: status %d", code)
	}
	again, err := net.Dial("tcp", listeners[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if code, err := get(again, bufio.NewReader(again)); code != http.StatusProxyAuthRequired || err != nil {
		t.Errorf("on a new conn: status %d, %v", code, err)
	}
}

// checked sends n bytes that nobody else sends through an echo, and compares them.
func checked(c net.Conn, id uint64, n int) error {
	out := make([]byte, n)
	for i := 0; i+16 <= n; i += 16 {
		binary.BigEndian.PutUint64(out[i:], id)
		binary.BigEndian.PutUint64(out[i+8:], uint64(i)) //nolint:gosec // not negative
	}
	if _, err := c.Write(out); err != nil {
		return err
	}
	in := make([]byte, n)
	if _, err := io.ReadFull(c, in); err != nil {
		return err
	}
	if !bytes.Equal(in, out) {
		return errors.New("other bytes came back")
	}
	return nil
}

// TestReloadRoutes: a tunnel lives on under the chain that it began with; the next
// one goes the new way, or none.
func TestReloadRoutes(t *testing.T) {
	hop := socksServer(t, echo(t))
	s, listeners, _ := serveServer(t, parse(t, through(hop)), &net.Dialer{})
	app, err := chain.New(&net.Dialer{}, socks.Hop5(listeners[0].String(), socks.HopOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := app.DialContext(t.Context(), "tcp", "target.example:7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, text := range []string{
		strings.Replace(through(hop), `to = "c"`, `to = "block"`, 1),
		strings.Replace(through("192.0.2.1:1"), `to = "c"`, `to = "block"`, 1),
		"[[listen]]\naddress = \"127.0.0.1:0\"\n[timeouts]\ndrain = \"5s\"\n",
	} {
		if _, err := s.Reload(t.Context(), parse(t, text)); err != nil {
			t.Fatal(err)
		}
		if err := checked(c, 1, 64); err != nil {
			t.Error(err)
		}
		if _, err := app.DialContext(t.Context(), "tcp", "target.example:7"); !errors.Is(err, syscall.EACCES) {
			t.Errorf("blocked: %v", err)
		}
	}
	if _, err := s.Reload(t.Context(), parse(t, through(hop))); err != nil {
		t.Fatal(err)
	}
	if err := checked(c, 2, 64); err != nil {
		t.Error(err)
	}
	again, err := app.DialContext(t.Context(), "tcp", "target.example:7")
	if err != nil {
		t.Fatal(err)
	}
	if err := checked(again, 3, 64); err != nil {
		t.Error(err)
	}
	_ = again.Close()
}

// TestReloadEnds: when byway stops, it is too late.
func TestReloadEnds(t *testing.T) {
	s, err := New(parse(t, through("192.0.2.1:1")), testnet.NoDial(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(t.Context(), parse(t, through("192.0.2.2:1"))); err != nil {
		t.Errorf("before Serve: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(t.Context(), parse(t, through("192.0.2.1:1"))); !errors.Is(err, errStopping) {
		t.Errorf("after: %v", err)
	}
}
