package local

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/internal/testnet"
)

// TestSessionsKeepTheirPlace: a session on HTTP/2 counts while it lives, also once it
// has a tunnel, or nothing would bound how many there are.
func TestSessionsKeepTheirPlace(t *testing.T) {
	hop := socksServer(t, echo(t))
	addr := serve(t, through(hop)+"[limits]\nhandshakes = 8\nhandshakes_per_client = 1\n", testnet.Only(t, &net.Dialer{}, hop))
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	for range 2 { // of one session
		says, body := io.Pipe()
		defer body.Close()
		resp, err := tr.RoundTrip((&http.Request{
			Method: http.MethodConnect, URL: &url.URL{Scheme: "http", Host: addr}, Host: "target.example:7", Header: make(http.Header), Body: says,
		}).WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.WriteString(body, "hello")
		got := make([]byte, 5)
		if _, err := io.ReadFull(resp.Body, got); resp.StatusCode != http.StatusOK || string(got) != "hello" {
			t.Fatalf("the tunnel says %s, %q, %v", resp.Status, got, err)
		}
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, socksRequest)
	if n, err := io.ReadFull(c, make([]byte, 12)); n != 0 || err == nil {
		t.Errorf("beside the session, one more got %d bytes, %v", n, err)
	}
}

// TestNotLoopback: what is listened on is looked at, not what it is called. "localhost"
// passes as far as it is loopback here; what is beyond has to be wanted.
func TestNotLoopback(t *testing.T) {
	s, err := New(parse(t, "[[listen]]\naddress = \"localhost:0\"\n"), testnet.NoDial(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if l, err := openTCP(t.Context(), s.now().config, "localhost:0", false, "listen[0].address"); err != nil {
		t.Errorf("localhost: %v", err)
	} else {
		_ = l.Close()
	}
	for _, address := range []string{":0", "0.0.0.0:0"} {
		l, err := openTCP(t.Context(), s.now().config, address, false, "listen[0].address")
		if err == nil {
			_ = l.Close()
			t.Errorf("%q is listened on, at %v", address, l.Addr())
			continue
		}
		if !strings.Contains(err.Error(), "2:11: listen[0].address: ") || !strings.Contains(err.Error(), "other machines can reach") {
			t.Errorf("%q: %v", address, err)
		}
		if l, err = openTCP(t.Context(), s.now().config, address, true, "listen[0].address"); err != nil {
			t.Errorf("%q with open: %v", address, err)
		} else {
			_ = l.Close()
		}
	}
}
