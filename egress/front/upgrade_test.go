package front_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestNoOtherTransport passes on no upgrade in which requests could hide from the rules of paths.
func TestNoOtherTransport(t *testing.T) {
	origin := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if up := r.Header.Get("Upgrade"); up != "" || r.Header.Get("Http2-Settings") != "" {
			t.Errorf("the origin is asked to change to %q", up)
		}
		_, _ = io.WriteString(w, "plain")
	}))
	addr := strings.TrimPrefix(served(t, proxyTo(t, origin)), "http://")
	for _, to := range []string{"h2c", "H2C", "HTTP/2.0", "TLS/1.0", "websocket, h2c", " h2c "} {
		c := dialRaw(t, addr)
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", to)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %v, %v", to, resp, err)
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != "plain" {
			t.Errorf("%s: %q", to, body)
		}
		c.Close()
	}
}
