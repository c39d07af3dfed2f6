package egress

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/testnet"
)

// clearConfig is a file with a port for HTTP in the clear.
func clearConfig(t *testing.T, port uint16) *configs.Egress {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("0123456789abcdef0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := "[[listen]]\naddress = \"127.0.0.1:0\"\nhttp_port = " + strconv.Itoa(int(port)) +
		"\n[[user]]\nname = \"alice\"\nsecret = { file = \"token\" }\n[tls]\nnames = [\"127.0.0.1\"]\n[[site]]\nroot = \".\"\n"
	c, err := configs.ParseEgress(filepath.Join(dir, "egress.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestHTTPPort sends who comes in the clear to https, until the egress ends.
func TestHTTPPort(t *testing.T) {
	port := func(addr string) uint16 { return netip.MustParseAddrPort(addr).Port() }
	c := clearConfig(t, port(testnet.Listen(t).Addr().String()))
	discard := slog.New(slog.DiscardHandler)
	s, err := FromConfig(c, nil, discard)
	if err != nil {
		t.Fatal(err)
	}
	var place *configs.Error
	err = s.ListenAndServe(t.Context(), c, func(net.Addr) { t.Error("ready, though a port is taken") })
	if !errors.As(err, &place) {
		t.Errorf("a port that is taken: %v", err)
	}

	free := port(testnet.Reserved(t))
	c = clearConfig(t, free)
	f, err := FrontFromConfig(c, discard)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = FromConfig(c, nil, discard); err != nil {
		t.Fatal(err)
	}
	for _, serve := range []func(context.Context, *configs.Egress, func(net.Addr)) error{f.ListenAndServe, s.ListenAndServe} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		at := make(chan net.Addr, 1)
		go func() { ended <- serve(ctx, c, func(a net.Addr) { at <- a }) }()
		var https net.Addr
		select {
		case https = <-at:
		case err := <-ended:
			t.Fatal(err)
		}
		client := &http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		res, err := client.Get("http://127.0.0.1:" + strconv.Itoa(int(free)) + "/a?b")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if want := "https://" + https.String() + "/a?b"; res.StatusCode != http.StatusPermanentRedirect || res.Header.Get("Location") != want {
			t.Errorf("got %s to %q, want %s", res.Status, res.Header.Get("Location"), want)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
