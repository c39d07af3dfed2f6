package front_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/egress/front"
	"github.com/byway-proxy/byway/egress/front/upstream"
)

// proxyTo returns a proxy to the servers at the given URLs, until the test ends.
func proxyTo(t testing.TB, urls ...string) *front.Proxy {
	t.Helper()
	var servers []*upstream.Server
	for _, s := range urls {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		c, err := upstream.NewClient(u, "", upstream.Options{Dial: (&net.Dialer{}).DialContext, DialLimit: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, &upstream.Server{Name: s, URL: u, Client: c})
	}
	p := &front.Proxy{Pool: upstream.NewPool(servers, upstream.Settings{Pick: upstream.RoundRobin}), Name: "front"}
	t.Cleanup(p.Close)
	return p
}

// served serves h until the test ends, by HTTP/1.1 and, for those who begin with it, HTTP/2 in the clear.
func served(t testing.TB, h http.Handler) (url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// clientFor returns a client that speaks HTTP/2 in the clear or HTTP/1.1.
func clientFor(t testing.TB, h2 bool) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// everyWay runs a test with both versions of HTTP at both sides.
func everyWay(t *testing.T, origin http.Handler, test func(t *testing.T, url string, c *http.Client)) {
	for _, h2in := range []bool{false, true} {
		for _, h2out := range []bool{false, true} {
			t.Run(fmt.Sprintf("h2 outside %v, inside %v", h2in, h2out), func(t *testing.T) {
				u := served(t, origin)
				if h2out {
					u = "h2c" + strings.TrimPrefix(u, "http")
				}
				test(t, served(t, proxyTo(t, u)), clientFor(t, h2in))
			})
		}
	}
}

func TestProxy(t *testing.T) {
	everyWay(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", fmt.Sprintf("%s %s %s %v %s", r.Method, r.Host, r.RequestURI, r.Header["User-Agent"], r.Header.Get("Via")))
		w.Header().Add("Set-Cookie", "a=b")
		w.Header().Add("Set-Cookie", "c=d")
		w.WriteHeader(418)
		_, _ = w.Write(body)
	}), func(t *testing.T, url string, c *http.Client) {
		for method, body := range map[string]string{"GET": "", "POST": "hello", "DELETE": "", "HEAD": "", "PATCH": strings.Repeat("x", 1<<20)} {
			r, _ := http.NewRequest(method, url+"/a%2Fb?c=%zz;d", strings.NewReader(body))
			r.Host = "my.example.org"
			r.Header.Set("User-Agent", "")
			resp, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 418 || string(got) != body {
				t.Errorf("%s: %d, %d bytes, %v", method, resp.StatusCode, len(got), err)
			}
			seen := resp.Header.Get("X-Seen")
			want := method + " my.example.org /a%2Fb?c=%zz;d [] "
			if !strings.HasPrefix(seen, want) || !strings.HasSuffix(seen, "front") || !strings.HasSuffix(resp.Header.Get("Via"), " front") {
				t.Errorf("the origin saw %q, the client Via %q", seen, resp.Header.Get("Via"))
			}
			if len(resp.Header["Set-Cookie"]) != 2 {
				t.Errorf("cookies: %v", resp.Header)
			}
		}
	})
}

// TestBothWays talks in both directions at once, with trailers both ways: what gRPC does.
func TestBothWays(t *testing.T) {
	everyWay(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Trailer", "Grpc-Status")
		w.Header().Set("X-Te", r.Header.Get("Te"))
		w.WriteHeader(200)
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		lines := bufio.NewReader(r.Body)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				break
			}
			_, _ = io.WriteString(w, "echo "+line)
			_ = rc.Flush()
		}
		w.Header().Set("Grpc-Status", r.Trailer.Get("X-Sum"))
		w.Header().Set(http.TrailerPrefix+"X-Unannounced", "1")
	}), func(t *testing.T, url string, c *http.Client) {
		pr, pw := io.Pipe()
		r, _ := http.NewRequest("POST", url, pr)
		r.Header.Set("Te", "trailers")
		r.Trailer = http.Header{"X-Sum": nil}
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		for i := range 10 {
			_, _ = fmt.Fprintf(pw, "%d\n", i)
			if line, err := lines.ReadString('\n'); err != nil || line != fmt.Sprintf("echo %d\n", i) {
				t.Fatalf("%q, %v", line, err)
			}
		}
		r.Trailer.Set("X-Sum", "45")
		_ = pw.Close()
		if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
		if resp.Trailer.Get("Grpc-Status") != "45" || resp.Trailer.Get("X-Unannounced") != "1" || resp.Header.Get("X-Te") != "trailers" {
			t.Errorf("trailers %v, header %v", resp.Trailer, resp.Header)
		}
	})
}

func TestInformational(t *testing.T) {
	everyWay(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(103)
		w.Header().Del("Link")
		w.Header().Set("X-Last", "1")
		_, _ = io.Copy(w, r.Body)
	}), func(t *testing.T, url string, c *http.Client) {
		var early []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				early = append(early, fmt.Sprint(code, h.Get("Link")))
				return nil
			},
		})
		r, _ := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader("body"))
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if len(early) != 1 || early[0] != "103</a.css>; rel=preload" || resp.Header.Get("Link") != "" || resp.Header.Get("X-Last") != "1" || string(body) != "body" {
			t.Errorf("early %q, then %v %q", early, resp.Header, body)
		}
	})
}

// TestContinue has a client be told to go on when the origin says so, and not before.
func TestContinue(t *testing.T) {
	origin := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(417)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	addr := strings.TrimPrefix(served(t, proxyTo(t, origin)), "http://")
	for path, want := range map[string][]string{
		"/yes": {"HTTP/1.1 100 Continue", "HTTP/1.1 200 OK"},
		"/no":  {"HTTP/1.1 417 Expectation Failed"},
	} {
		c := dialRaw(t, addr)
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", path)
		in := textproto.NewReader(bufio.NewReader(c))
		for _, line := range want {
			got, err := in.ReadLine()
			if err != nil || got != line {
				t.Fatalf("%s: %q, %v; want %q", path, got, err, line)
			}
			_, _ = in.ReadMIMEHeader()
			if strings.Contains(line, "100") {
				_, _ = io.WriteString(c, "hello")
			}
		}
		c.Close()
	}
}

func dialRaw(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestUpgrade carries bytes both ways after a 101, what was sent with it included, and half-closes.
func TestUpgrade(t *testing.T) {
	origin := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
			w.WriteHeader(400)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: "+r.URL.Query().Get("to")+"\r\nSec-Websocket-Accept: x\r\n\r\nfirst;")
		_, _ = io.Copy(c, rw.Reader)
		_, _ = io.WriteString(c, "last")
	}))
	addr := strings.TrimPrefix(served(t, proxyTo(t, origin)), "http://")
	c := dialRaw(t, addr)
	fmt.Fprintf(c, "GET /?to=websocket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly;")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Sec-Websocket-Accept") != "x" {
		t.Fatalf("%v, %v", resp, err)
	}
	_, _ = io.WriteString(c, "more;")
	_ = c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(in); err != nil || !strings.HasPrefix(string(got), "first;early;more;") {
		t.Errorf("%q, %v", got, err)
	}

	c = dialRaw(t, addr)
	fmt.Fprintf(c, "GET /?to=other HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 502 {
		t.Errorf("a protocol that was not asked for: %v, %v", resp, err)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skip(err)
	}
	s := httptest.NewUnstartedServer(say("by socket"))
	s.Listener.Close()
	s.Listener = l
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	for _, scheme := range []string{"http", "h2c"} {
		p := proxyTo(t, scheme+"+unix://"+path)
		if code, body, _ := get(t, p, httptest.NewRequest("GET", "/x", nil)); code != 200 || body != "by socket /x" {
			t.Errorf("%s: %d %q", scheme, code, body)
		}
	}
}
