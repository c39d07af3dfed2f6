package httpproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// TestRequests2 compares what arrives at the target to the letter.
func TestRequests2(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []string
		body  string
		want  string
	}{
		{"nothing is added", get2("/"), "", "GET / HTTP/1.1\nHost: a.example"},
		{"fields", get2("/x?y", "user-agent x/1", "accept-encoding br", "cookie a=1", "cookie b=2"), "", "GET /x?y HTTP/1.1\nAccept-Encoding: br\nCookie: a=1; b=2\nHost: a.example\nUser-Agent: x/1"},
		{"host besides authority", get2("/", "host a.example"), "", "GET / HTTP/1.1\nHost: a.example"},
		{"host for authority", []string{":method GET", ":scheme http", ":path /", "host a.example"}, "", "GET / HTTP/1.1\nHost: a.example"},
		{"IPv6", []string{":method GET", ":scheme http", ":authority [2001:db8::1]:81", ":path /"}, "", "GET / HTTP/1.1\nHost: [2001:db8::1]:81"},
		{"odd path", get2("/x/%2e/|[y]?q={}&%41"), "", "GET /x/%2e/|[y]?q={}&%41 HTTP/1.1\nHost: a.example"},
		{"two slashes", get2("//x?y"), "", "GET //x?y HTTP/1.1\nHost: a.example"},
		{"trailers wanted", get2("/", "te trailers"), "", "GET / HTTP/1.1\nConnection: TE\nHost: a.example\nTe: trailers"},
		{"OPTIONS *", []string{":method OPTIONS", ":scheme http", ":authority a.example", ":path *", "max-forwards 3"}, "", "OPTIONS * HTTP/1.1\nHost: a.example\nMax-Forwards: 2"},
		{"length", append([]string{":method PUT"}, get2("/", "content-length 2")[1:]...), "hi", "PUT / HTTP/1.1\nContent-Length: 2\nHost: a.example\n\nhi"},
		{"no length", append([]string{":method PUT"}, get2("/")[1:]...), "hi", "PUT / HTTP/1.1\nHost: a.example\nTransfer-Encoding: chunked\n\nhi"},
		{"continue", append([]string{":method PUT"}, get2("/", "expect 100-continue", "content-length 2")[1:]...), "hi", "PUT / HTTP/1.1\nContent-Length: 2\nHost: a.example\n\nhi"},
		{"unknown method", append([]string{":method BREW"}, get2("/")[1:]...), "", "BREW / HTTP/1.1\nHost: a.example"},
	} {
		t.Run(test.name, func(t *testing.T) {
			seen := make(chan string, 1)
			p := newProxied(t, &Server{})
			p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
				head := readHead(br)
				if test.body != "" {
					r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), br)))
					if err != nil {
						t.Error(err)
						return
					}
					b, _ := io.ReadAll(r.Body)
					head = sorted(head) + "\n\n" + string(b)
				} else {
					head = sorted(head)
				}
				seen <- head
				_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
			})
			r := p.raw2(t)
			stream := r.send(test.body == "", test.lines...)
			if test.body != "" {
				_ = r.WriteData(stream, true, []byte(test.body))
			}
			if o := r.receive(stream); o.status != "204" || o.cut || test.name == "continue" && fmt.Sprint(o.interim) != "[100]" {
				t.Fatalf("got %+v", o)
			}
			if got := <-seen; got != test.want {
				t.Errorf("the target got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// TestResponses2 has what a target sends, and the client's part of it.
func TestResponses2(t *testing.T) {
	for _, test := range []struct {
		name, method, answer string
		want                 outcome
	}{
		{"length", "GET", "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\n\r\nhi", outcome{
			status: "200", body: "hi", fields: map[string][]string{"content-length": {"2"}, "x-a": {"1", "2"}},
		}},
		{"until close", "GET", "HTTP/1.1 200 OK\r\n\r\nhi", outcome{status: "200", body: "hi", fields: map[string][]string{}}},
		{"trailers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Forwarded-For\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-Late: 2\r\nContent-Length: 9\r\n\r\n", outcome{
			status: "200", body: "hi", fields: map[string][]string{"trailer": {"X-Sum"}}, trailer: map[string][]string{"x-sum": {"1"}, "x-late": {"2"}},
		}},
		{"hop-by-hop", "GET", "HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nVia: 1.1 cdn\r\nContent-Length: 0\r\n\r\n", outcome{
			status: "200", fields: map[string][]string{"via": {"1.1 cdn"}, "content-length": {"0"}},
		}},
		{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", outcome{status: "204", fields: map[string][]string{}}},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", outcome{status: "304", fields: map[string][]string{"content-length": {"9"}}}},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nDate: x\r\n\r\n", outcome{status: "200", fields: map[string][]string{"content-length": {"9"}, "date": {"x"}}}},
		{"103", "GET", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", outcome{
			status: "204", interim: []string{"103"}, fields: map[string][]string{},
		}},
		{"103 for ever", "GET", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100), outcome{
			status: "502", interim: strings.Fields(strings.Repeat("103 ", maxInterim)), body: "too many interim responses\n",
			fields: map[string][]string{"content-type": {"text/plain; charset=utf-8"}, "content-length": {"27"}},
		}},
		{"cut short", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", outcome{
			status: "200", body: "hi", fields: map[string][]string{"content-length": {"9"}}, cut: true, reset: http2.ErrCodeInternal,
		}},
		{"chunks cut short", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", outcome{
			status: "200", body: "hi", fields: map[string][]string{}, cut: true, reset: http2.ErrCodeInternal,
		}},
		{"garbage", "HEAD", "garbage\r\n\r\n", outcome{status: "502"}},
		{"switched", "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", outcome{status: "502"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProxied(t, &Server{})
			p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
				readHead(br)
				_, _ = io.WriteString(c, test.answer)
			})
			o := p.raw2(t).ask(append([]string{":method " + test.method}, get2("/")[1:]...)...)
			if test.want.fields == nil { // an answer of ours, in words of net/http's
				o.fields, o.body = nil, ""
			}
			if got, want := fmt.Sprintf("%+v", o), fmt.Sprintf("%+v", test.want); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestRequestTrailers2(t *testing.T) {
	got := make(chan http.Header, 1)
	p := newProxied(t, &Server{})
	p.onTarget(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	})
	r := p.raw2(t)
	stream := r.send(false, append([]string{":method POST"}, get2("/", "trailer x-sum, x-forwarded-for")[1:]...)...)
	_ = r.WriteData(stream, false, []byte("hi"))
	r.next -= 2
	r.send(true, "x-sum 1", "x-forwarded-for 2")
	if o := r.receive(stream); o.status != "200" {
		t.Errorf("got %+v", o)
	}
	if trailer := <-got; trailer.Get("X-Sum") != "1" || trailer["X-Forwarded-For"] != nil {
		t.Errorf("the target got %v", trailer)
	}
}

// TestMaxForwards2: what stops here reaches no target.
func TestMaxForwards2(t *testing.T) {
	p := newProxied(t, &Server{Relay: &relay.Relay{Router: direct(testnet.NoDial(t))}})
	r := p.raw2(t)
	o := r.ask(append([]string{":method TRACE"}, get2("/x", "max-forwards 0", "cookie c", "x y")[1:]...)...)
	if o.status != "200" || o.body != "TRACE /x HTTP/2.0\r\nHost: a.example\r\nMax-Forwards: 0\r\nX: y\r\n\r\n" || o.fields["content-type"][0] != "message/http" {
		t.Errorf("got %+v", o)
	}
	o = r.ask(append([]string{":method OPTIONS"}, get2("/x", "max-forwards 0")[1:]...)...)
	if o.status != "200" || o.fields["allow"][0] != "CONNECT, GET, HEAD, OPTIONS, TRACE" {
		t.Errorf("got %+v", o)
	}
}

// TestByTransport has net/http talk to the proxy, with many requests at once and
// bodies both ways.
func TestByTransport(t *testing.T) {
	over(t, func(t *testing.T, overTLS bool) {
		p := newProxiedBy(t, &Server{}, overTLS)
		p.onTarget(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
		tr := &http.Transport{Protocols: new(http.Protocols)}
		tr.Protocols.SetUnencryptedHTTP2(true) // for the scheme; TLS is below
		tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, p.addr)
			if err == nil && overTLS {
				c := trust(testCert())
				c.ServerName, c.NextProtos = "hop1", []string{"h2"}
				conn = tls.Client(conn, c)
			}
			return conn, err
		}
		defer tr.CloseIdleConnections()
		errs := make(chan error)
		for i := range 20 {
			go func() {
				body := strings.Repeat(string(rune('a'+i)), 300<<10)
				resp, err := (&http.Client{Transport: tr}).Post("http://a.example/", "", strings.NewReader(body))
				if err == nil {
					var got []byte
					got, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err == nil && string(got) != body {
						err = fmt.Errorf("%d of %d bytes came back", len(got), len(body))
					}
				}
				errs <- err
			}()
		}
		for range 20 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzRequest2 makes sure that whatever is passed on from HTTP/2 is one request on
// HTTP/1.1, and the one that was asked for.
func FuzzRequest2(f *testing.F) {
	for _, seed := range [][4]string{
		{"GET", "a.example", "/x?y", "z"},
		{"OPTIONS", "[2001:db8::1]:81", "*", ""},
		{"GET", "a.example:", "//x", "\t"},
		{"GET / HTTP/1.1\r\nX:", "a.example", "/", ""},
		{"GET", "a.example", "/ HTTP/1.1\r\nHost: b\r\n\r\nGET /", "a\r\nb: c"},
		{"PUT", "a b", "http://b.example/", "\x00"},
		{"CONNECT", "u@a.example", "/%zz#", "é"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, method, authority, path, value string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || !isFieldValue([]byte(value)) { // net/http's part
			return
		}
		in := &http.Request{
			Method: method, Host: authority, URL: u, RequestURI: path, Proto: "HTTP/2.0", ProtoMajor: 2,
			Header: http.Header{"X-A": {value}},
		}
		a, refused := requestTarget(in)
		if refused != nil {
			return
		}
		var wire strings.Builder
		if err := (&Server{}).outgoing(in, a).Write(&wire); err != nil {
			return // net/http refuses it, too
		}
		br := bufio.NewReader(strings.NewReader(wire.String() + "GET /next HTTP/1.1\r\nHost: n\r\n\r\n"))
		r, err := http.ReadRequest(br)
		if err != nil {
			t.Fatalf("%v: %q", err, wire.String())
		}
		if r.ContentLength == 0 { // which net/http says of what may have content
			r.Header.Del("Content-Length")
		}
		want := path
		if u.Path != "*" && strings.HasPrefix(path, "//") {
			want = u.RequestURI()
		}
		if r.Method != method || r.RequestURI != want || r.Host != strings.TrimSuffix(authority, ":") || len(r.Header) != 1 {
			t.Errorf("asked for %q %q at %q, the target gets %q", method, path, authority, wire.String())
		}
		if next, err := http.ReadRequest(br); err != nil || next.RequestURI != "/next" {
			t.Errorf("%q is more than one request", wire.String())
		}
	})
}
