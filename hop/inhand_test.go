package hop_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

// browser returns a conn to an HTTP listener at the client's host, which leads
// through p's hops with a spare.
func (p *path) browser(t *testing.T) net.Conn {
	t.Helper()
	hops := append([]chain.Hop(nil), p.hops...)
	last := len(hops) - 1
	hops[last] = chain.Spare(hops[last], chain.SpareOptions{})
	c, err := chain.New(testnet.Only(t, p.Host("client"), "hop1:1080"), hops...)
	if err != nil {
		t.Fatal(err)
	}
	s := &httpproxy.Server{Relay: &relay.Relay{Router: route.Table{{To: c, Via: "chain"}}}, Request: relay.Request{Listener: "l"}}
	accept(t, p.Host("client"), ":8080", func(c net.Conn) { _ = s.ServeConn(t.Context(), c) })
	conn, err := p.Host("client").DialContext(t.Context(), "tcp", "client:8080")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = s.Close()
		_ = s.Relay.Close()
		_ = c.Close()
	})
	return conn
}

// ask sends a request in absolute-form, and returns the answer and how long it took.
func ask(t *testing.T, conn net.Conn, port int, body string) (*http.Response, string, time.Duration) {
	t.Helper()
	began := time.Now()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	_, _ = fmt.Fprintf(conn, "%s http://%s:%d/ HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: %d\r\n\r\n%s",
		method, target, port, target, port, len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp, string(text), took
}

// TestRequestsInHand: a plain HTTP request goes along with its dial where the hop is known
// to pass it on, and waits for the true reply all the same; one with a body is dialled for first.
func TestRequestsInHand(t *testing.T) {
	for name, test := range map[string]struct {
		pipeline socks.Pipeline
		last     server
		body     string
		refused  string // what is said of a target that refuses
		want     func(p *path) time.Duration
	}{
		"socks5":            {socks.On, nil, "", "connection refused\n", func(p *path) time.Duration { return p.all() + p.last() }},
		"socks5, serial":    {socks.Off, nil, "", "connection refused\n", func(p *path) time.Duration { return 2 * p.all() }},
		"socks5, not known": {socks.Auto, nil, "", "connection refused\n", func(p *path) time.Duration { return 2 * p.all() }}, // nobody asks for it
		"https, HTTP/2":     {socks.On, serveTLS(true), "", "no route to host\n", func(p *path) time.Duration { return p.all() + p.last() }},
		"http":              {socks.On, servePlain, "", "no route to host\n", func(p *path) time.Duration { return 2 * p.all() }},
		"socks5, with body": {socks.On, nil, "hello", "connection refused\n", func(p *path) time.Duration { return 2 * p.all() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPath(t, 3, test.pipeline, test.last)
				for port := 1; port <= 3; port++ { // each has a conn of its own
					accept(t, p.Host(target), fmt.Sprintf(":%d", port), func(c net.Conn) {
						defer c.Close()
						q, err := http.ReadRequest(bufio.NewReader(c))
						if err != nil {
							return
						}
						b, _ := io.ReadAll(q.Body)
						_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
					})
				}
				conn := p.browser(t)
				for port := 1; port <= 2; port++ {
					ask(t, conn, port, test.body)
					time.Sleep(5 * time.Second)
				}
				resp, text, took := ask(t, conn, 3, test.body)
				if want := test.want(p); resp.StatusCode != http.StatusOK || text != test.body || took != want {
					t.Errorf("%s %q took %v, want %v", resp.Status, text, took, want)
				}
				// Nobody listens on this one.
				resp, text, _ = ask(t, conn, 4, test.body)
				if resp.StatusCode != http.StatusBadGateway || text != test.refused {
					t.Errorf("of a target that refuses: %s %q", resp.Status, text)
				}
			})
		})
	}
}
