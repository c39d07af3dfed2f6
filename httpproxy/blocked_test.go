package httpproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/relay"
)

// TestBlockedPage has the page where a browser shows it, and nowhere else.
func TestBlockedPage(t *testing.T) {
	for _, test := range []struct {
		how    relay.Block
		raw    string
		isPage bool
	}{
		{relay.Page, "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", true},
		{relay.Page, "HEAD http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", true},
		{relay.Page, "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", false},
		{relay.Refuse, "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", false},
	} {
		p := newProxied(t, &Server{Relay: &relay.Relay{Router: relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
			return relay.Decision{Rule: "my <b>.toml:7", Block: test.how}
		})}})
		c := p.dial(t)
		_, _ = io.WriteString(c, test.raw)
		method, _, _ := strings.Cut(test.raw, " ")
		resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		named := strings.Contains(string(body), "my &lt;b&gt;.toml:7") || method == http.MethodHead
		if resp.StatusCode != http.StatusForbidden || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") != test.isPage ||
			test.isPage && (!named || resp.Header.Get("Content-Security-Policy") == "" || resp.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("%v, %.10q: %d %v\n%s", test.how, test.raw, resp.StatusCode, resp.Header, body)
		}
		_ = c.Close()
	}
}

func TestRemovedFields(t *testing.T) {
	fields := make(http.Header)
	for _, name := range RemovedFields() {
		fields.Set(strings.ReplaceAll(name, "*", "-For"), "x")
	}
	n := len(fields)
	fields.Set("Accept", "x")
	if got := requestFields(fields); n < 20 || fmt.Sprint(got) != "map[Accept:[x] User-Agent:[]]" {
		t.Errorf("of %d fields are left %v", n, got)
	}
}
