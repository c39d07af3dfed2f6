package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

var testWindows = Windows{Stream: 16 << 20, Session: 32 << 20, Budget: 64 << 20}

// A caller makes TLS conns with tickets of its own.
type caller struct {
	t    testing.TB
	addr string
	tls  *tls.Config
}

func newCaller(t testing.TB, addr string) *caller {
	return &caller{t, addr, &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{"h2"}, //nolint:gosec // what matters here comes after the handshake
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}}
}

// greeting is what a server says before it has heard of a credential.
type greeting struct {
	resumed bool
	raw     []byte // SETTINGS, and the session's window
	window  uint32 // of a stream
	ticket  int    // length of the ticket that came along
}

// call begins HTTP/2 and, with a credential, asks for a tunnel.
func (c *caller) call(auth string) (greeting, net.Conn) {
	c.t.Helper()
	conn, err := tls.Dial("tcp", c.addr, c.tls)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	must(c.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = conn.Write([]byte(http2.ClientPreface))
	must(c.t, err)
	var heard bytes.Buffer
	f := http2.NewFramer(conn, teed{conn, &heard})
	must(c.t, f.WriteSettings())
	g := greeting{resumed: conn.ConnectionState().DidResume}
	for update := false; g.window == 0 || !update; {
		frame, err := f.ReadFrame()
		must(c.t, err)
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				g.window, _ = frame.Value(http2.SettingInitialWindowSize)
			}
		case *http2.WindowUpdateFrame:
			update = true
		}
	}
	ack := []byte("\x00\x00\x00\x04\x01\x00\x00\x00\x00") // of ours, which comes when it comes
	g.raw = bytes.ReplaceAll(heard.Bytes(), ack, nil)
	if s, ok := c.tls.ClientSessionCache.Get("127.0.0.1"); ok {
		b, _, err := s.ResumptionState()
		must(c.t, err)
		g.ticket = len(b)
	}
	if auth != "" {
		c.ask(f, auth)
	}
	return g, conn
}

// ask asks for a tunnel that the policy refuses, and waits for the answer.
func (c *caller) ask(f *http2.Framer, auth string) {
	c.t.Helper()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range []hpack.HeaderField{
		{Name: ":method", Value: "CONNECT"},
		{Name: ":authority", Value: "10.0.0.1:80"},
		{Name: "proxy-authorization", Value: "Basic " + base64.StdEncoding.EncodeToString([]byte(auth))},
	} {
		must(c.t, enc.WriteField(h))
	}
	must(c.t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}))
	for {
		frame, err := f.ReadFrame()
		must(c.t, err)
		if frame.Header().Type == http2.FrameHeaders {
			return
		}
	}
}

type teed struct {
	net.Conn
	heard *bytes.Buffer
}

func (t teed) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.heard.Write(p[:n])
	return n, err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestWindowsAreForFriends: who has shown a credential gets the windows when it comes
// back; whoever has not, or a wrong one, sees to the byte what a server without sees to.
func TestWindowsAreForFriends(t *testing.T) {
	const ordinary, wide = 1 << 20, 16 << 20
	_, plain, _ := start(t, &Policy{Resolver: forbidden{t}, Base: testnet.NoDial(t)})
	_, addr, token := startWide(t, testWindows, &Policy{Resolver: forbidden{t}, Base: testnet.NoDial(t)})
	for name, auth := range map[string]string{"stranger": "", "wrong": "alice:" + token[1:], "friend": "alice:" + token} {
		a, b := newCaller(t, plain), newCaller(t, addr)
		for i := range 3 {
			before, _ := a.call(auth)
			got, _ := b.call(auth)
			if got.resumed != (i > 0) || before.resumed != (i > 0) {
				t.Errorf("%s, call %d: resumed %v, without the windows %v", name, i, got.resumed, before.resumed)
			}
			want := uint32(ordinary)
			if name == "friend" && i > 0 {
				want = wide
			}
			if got.window != want {
				t.Errorf("%s, call %d: a window of %d bytes, want %d", name, i, got.window, want)
			}
			if name != "friend" && !bytes.Equal(got.raw, before.raw) {
				t.Errorf("%s, call %d: greeted with %x, without the windows with %x", name, i, got.raw, before.raw)
			}
			if got.ticket != before.ticket {
				t.Errorf("%s, call %d: a ticket of %d bytes, without the windows %d", name, i, got.ticket, before.ticket)
			}
		}
	}
}

// TestWindowsHaveABudget: when it is used up, nobody else gets the windows until a
// conn that has them ends.
func TestWindowsHaveABudget(t *testing.T) {
	s, addr, token := startWide(t, testWindows, &Policy{Resolver: forbidden{t}, Base: testnet.NoDial(t)})
	c := newCaller(t, addr)
	c.call("alice:" + token)
	wides := func(n int) (conns []net.Conn, wide int) {
		for range n {
			g, conn := c.call("alice:" + token)
			if conns = append(conns, conn); g.window == 16<<20 {
				wide++
			}
		}
		return conns, wide
	}
	conns, n := wides(4)
	if n != 2 {
		t.Errorf("%d of 4 have windows of which the budget holds 2", n)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	for s.wide.spare() != testWindows.Budget { // the server learns of it by and by
		time.Sleep(time.Millisecond)
	}
	if _, n := wides(3); n != 2 {
		t.Errorf("then %d of 3", n)
	}
}

func (w *wide) spare() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left
}

// TestTicketsAreForgotten: there is a bound on how many are remembered.
func TestTicketsAreForgotten(t *testing.T) {
	w := &wide{known: map[ticket]bool{}}
	name := func(i int) ticket { return ticket{byte(i), byte(i >> 8), byte(i >> 16)} }
	for i := range maxTickets + 10 {
		w.remember(name(i))
		w.remember(name(i))
	}
	if w.knows(name(9)) || !w.knows(name(10)) || !w.knows(name(maxTickets+9)) || len(w.known) != maxTickets || len(w.order) != maxTickets {
		t.Errorf("%d are known", len(w.known))
	}
}

// TestHopGetsWindows: after its first tunnel our hop comes back for the windows, and
// an upload is not bound by the ordinary ones.
func TestHopGetsWindows(t *testing.T) {
	var mu sync.Mutex
	var stuck []net.Conn
	s, addr, token := startWide(t, testWindows, &Policy{
		Resolver: forbidden{t}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Base: chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			near, far := testnet.Pipe(0)
			mu.Lock()
			defer mu.Unlock()
			stuck = append(stuck, far) // nobody reads it
			return near, nil
		}),
	})
	t.Cleanup(func() {
		for _, c := range stuck {
			_ = c.Close()
		}
	})
	c := through(t, s, addr, token)
	upload := func() error {
		conn, err := c.Dial("tcp", "127.0.0.1:1")
		must(t, err)
		defer func() { _ = chain.Abort(conn) }()
		must(t, conn.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
		_, err = conn.Write(make([]byte, 8<<20))
		return err
	}
	if err := upload(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the first upload: %v", err)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		err := upload()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no upload gets the windows: %v", err)
		}
	}
}
