package httpproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// over runs test on HTTP/2 in the clear, and by TLS.
func over(t *testing.T, test func(t *testing.T, overTLS bool)) {
	t.Run("clear", func(t *testing.T) { test(t, false) })
	t.Run("TLS", func(t *testing.T) { test(t, true) })
}

func TestConnect2(t *testing.T) {
	over(t, func(t *testing.T, overTLS bool) {
		p := newProxiedBy(t, &Server{}, overTLS)
		p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
			_, _ = io.WriteString(c, "hello ")
			_, _ = io.Copy(c, br)
			_, _ = io.WriteString(c, " bye")
		})
		r := p.raw2(t)
		var streams []uint32
		for _, target := range []string{"a.example:443", "192.0.2.1:22", "[2001:db8::1]:443"} {
			stream := r.send(false, ":method CONNECT", ":authority "+target)
			_ = r.WriteData(stream, false, []byte("early"))
			_ = r.WriteData(stream, true, []byte(" late"))
			streams = append(streams, stream)
			o := r.receive(stream)
			if o.status != "200" || o.body != "hello early late bye" || o.cut || len(o.fields) != 0 {
				t.Errorf("%s: got %+v", target, o)
			}
		}
		if got := fmt.Sprint(p.dialled()); got != "[a.example:443 192.0.2.1:22 [2001:db8::1]:443]" {
			t.Errorf("dialled %s for %v", got, streams)
		}
	})
}

// TestHopToServer has our https hop speak HTTP/2 to a listener: one byway in front
// of another.
func TestHopToServer(t *testing.T) {
	echo := echoTargets(t)
	p := newProxiedBy(t, &Server{Users: users{"u": "p"}, Relay: &relay.Relay{Router: direct(chain.DialerFunc(
		func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, echo)
		}))}}, true)
	for password, want := range map[string]bool{"p": true, "q": false} {
		d := wrap(t, HopTLS(p.addr, HopOptions{TLS: trust(testCert()), User: "u", Password: password}), &net.Dialer{})
		conn, err := d.DialContext(t.Context(), "tcp", "target.example:7")
		if want != (err == nil) {
			t.Fatalf("password %q: %v", password, err)
		}
		if want {
			echoed(t, conn)
		}
	}
}

func TestRejections2(t *testing.T) {
	for err, status := range map[error]string{
		relay.ErrBlocked: "403", syscall.ECONNREFUSED: "502", syscall.ETIMEDOUT: "504", syscall.EOPNOTSUPP: "501", relay.ErrClosed: "503",
	} {
		p := newProxied(t, &Server{Relay: &relay.Relay{}})
		p.s.Relay.Router = direct(p.dialer(&net.OpError{Op: "dial", Net: "tcp", Addr: addr("secret.example"), Err: err}))
		r := p.raw2(t)
		for _, lines := range [][]string{{":method CONNECT", ":authority secret.example:443"}, get2("/"), get2("/", ":head")[:4]} {
			o := r.ask(lines...)
			if o.status != status || o.body == "" || strings.Contains(o.body, "secret") || o.fields["content-type"][0] != "text/plain; charset=utf-8" {
				t.Errorf("%v, %v: got %+v", err, lines, o)
			}
		}
	}
}

// TestProxyStatus2: a client that has proved who it is learns which hop failed, by CONNECT
// alone.
func TestProxyStatus2(t *testing.T) {
	c, err := chain.New(testnet.NoDial(t), chain.Hop{Name: "zoë", Wrap: func(chain.Dialer) (chain.Dialer, error) {
		return chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			return nil, chain.Fail(chain.PhaseAuth, errors.New(`"rejected"`))
		}), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, known := range []bool{true, false} {
		p := newProxied(t, &Server{Relay: &relay.Relay{Router: direct(c)}})
		var more []string
		if known {
			p.s.Users, more = users{"u": "p"}, []string{"proxy-authorization Basic dTpw"}
		}
		r := p.raw2(t)
		o := r.ask(append([]string{":method CONNECT", ":authority secret.example:443"}, more...)...)
		want := map[bool]string{true: `byway;error=proxy_internal_error;details="hop 1/1 zo?: auth: \"rejected\""`}[known]
		if got := strings.Join(o.fields["proxy-status"], "|"); o.status != "502" || got != want {
			t.Errorf("known %v: %s, %q, want %q", known, o.status, got, want)
		}
		if o = r.ask(get2("/", more...)...); o.status != "502" || o.fields["proxy-status"] != nil || strings.Contains(o.body, "zo") {
			t.Errorf("known %v: a page can read %+v", known, o)
		}
	}
}

func TestAuthentication2(t *testing.T) {
	over(t, func(t *testing.T, overTLS bool) {
		p := newProxiedBy(t, &Server{Users: withTokens{users{"u": "p"}}}, overTLS)
		p.onTarget(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, len(r.Header["Proxy-Authorization"])) })
		r := p.raw2(t)
		for _, lines := range [][]string{{":method CONNECT", ":authority a.example:443"}, get2("/")} {
			for _, more := range [][]string{nil, {"proxy-authorization Bearer x"}, {"proxy-authorization Bearer p", "proxy-authorization Bearer p"}, {"authorization Bearer p"}} {
				o := r.ask(append(lines[:len(lines):len(lines)], more...)...)
				if o.status != "407" || strings.Join(o.fields["proxy-authenticate"], ", ") != `Basic realm="byway", Bearer realm="byway"` {
					t.Errorf("%v %v: got %+v", lines, more, o)
				}
			}
		}
		if n := len(p.dialled()); n != 0 {
			t.Errorf("%d dials without credentials", n)
		}
		for _, credentials := range []string{"Bearer p", "Basic dTpw"} {
			if o := r.ask(get2("/", "proxy-authorization "+credentials)...); o.status != "200" || o.body != "0" {
				t.Errorf("%s: got %+v", credentials, o)
			}
		}
	})
}

// violations2 has what RFC 9113 forbids or what can't be passed on, and what it
// gets: a status, or the code of a reset.
var violations2 = []struct {
	name  string
	lines []string
	want  string
}{
	{"https", []string{":method GET", ":scheme https", ":authority a.example", ":path /"}, "501"},
	{"ftp", []string{":method GET", ":scheme ftp", ":authority a.example", ":path /"}, "PROTOCOL_ERROR"},
	{"no scheme", []string{":method GET", ":authority a.example", ":path /"}, "PROTOCOL_ERROR"},
	{"no path", []string{":method GET", ":scheme http", ":authority a.example"}, "PROTOCOL_ERROR"},
	{"no authority", []string{":method GET", ":scheme http", ":path /"}, "400"},
	{"another host", get2("/", "host b.example"), "PROTOCOL_ERROR"},
	{"path without slash", get2("x"), "PROTOCOL_ERROR"},
	{"URL for a path", get2("http://b.example/"), "PROTOCOL_ERROR"},
	{"star for GET", get2("*"), "400"},
	{"space in path", get2("/ HTTP/1.1"), "400"},
	{"line end in path", get2("/\r\nX: y"), "PROTOCOL_ERROR"},
	{"fragment", get2("/#x"), "400"},
	{"not ASCII", get2("/é"), "400"},
	{"method not a token", []string{":method GET /x", ":scheme http", ":authority a.example", ":path /"}, "400"},
	{"user in authority", []string{":method GET", ":scheme http", ":authority u:p@a.example", ":path /"}, "PROTOCOL_ERROR"},
	{"path in authority", []string{":method GET", ":scheme http", ":authority a.example/x", ":path /"}, "PROTOCOL_ERROR"},
	{"odd authority", []string{":method GET", ":scheme http", ":authority a%2eexample", ":path /"}, "400"},
	{"port 0", []string{":method GET", ":scheme http", ":authority a.example:0", ":path /"}, "400"},
	{"connection", get2("/", "connection close"), "400"},
	{"transfer-encoding", get2("/", "transfer-encoding chunked"), "400"},
	{"upgrade", get2("/", "upgrade websocket"), "400"},
	{"te", get2("/", "te gzip"), "400"},
	{"upper case", get2("/", "X-Y z"), "PROTOCOL_ERROR"},
	{"line end in value", get2("/", "x y\r\nz: 1"), "PROTOCOL_ERROR"},
	{"length without body", get2("/", "content-length 3"), "400"},
	{"two lengths", get2("/", "content-length 0", "content-length 0"), "400"},
	{"unknown expectation", get2("/", "expect x"), "417"},
	{"large field", get2("/", "x "+strings.Repeat("y", 70<<10)), "COMPRESSION_ERROR"},
	{"large head", get2("/", slices.Repeat([]string{"x y"}, 5000)...), "431"},
	{"odd Max-Forwards", []string{":method TRACE", ":scheme http", ":authority a.example", ":path /", "max-forwards -1"}, "400"},
	{"CONNECT with path", []string{":method CONNECT", ":scheme http", ":authority a.example:1", ":path /"}, "PROTOCOL_ERROR"},
	{"CONNECT to nowhere", []string{":method CONNECT"}, "PROTOCOL_ERROR"},
	{"CONNECT without port", []string{":method CONNECT", ":authority a.example"}, "400"},
	{"CONNECT with length", []string{":method CONNECT", ":authority a.example:1", "content-length 0"}, "400"},
	{"CONNECT for a protocol", []string{":method CONNECT", ":protocol websocket", ":scheme http", ":authority a.example", ":path /"}, "PROTOCOL_ERROR"},
}

func TestViolations2(t *testing.T) {
	over(t, func(t *testing.T, overTLS bool) {
		p := newProxiedBy(t, &Server{Relay: &relay.Relay{Router: direct(testnet.NoDial(t))}}, overTLS)
		for _, test := range violations2 {
			o := p.raw2(t).ask(test.lines...)
			got := o.status
			if o.status == "" {
				got = o.reset.String()
			}
			if got != test.want || len(o.fields["server"])+len(o.fields["via"]) > 0 {
				t.Errorf("%s: got %+v, want %s", test.name, o, test.want)
			}
		}
	})
}

// TestOwnPages2: on HTTP/2, what is for the proxy is told by the authority alone.
func TestOwnPages2(t *testing.T) {
	over(t, func(t *testing.T, overTLS bool) {
		p := newProxiedBy(t, &Server{Users: users{}, SOCKS: true, Relay: &relay.Relay{Router: direct(testnet.NoDial(t))}}, overTLS)
		_, port, _ := net.SplitHostPort(p.addr)
		r := p.raw2(t)
		scheme, way := "http", "PROXY "+p.addr
		if overTLS {
			scheme, way = "https", "HTTPS "+p.addr
		}
		lines := []string{":method GET", ":scheme " + scheme, ":authority " + p.addr, ":path /proxy.pac"}
		if o := r.ask(lines...); o.status != "200" || !strings.Contains(o.body, way) || o.fields["content-type"][0] != "application/x-ns-proxy-autoconfig" {
			t.Errorf("got %+v", o)
		}
		if o := r.ask(append(lines, "origin http://evil.example")...); o.status != "403" || strings.Contains(o.body, "Find") {
			t.Errorf("got %+v", o)
		}
		lines[3], lines[2] = ":path /", ":authority localhost:"+port
		o := r.ask(lines...)
		if o.status != "200" || !strings.Contains(o.body, scheme+"://localhost:"+port+"/proxy.pac") || len(o.fields["content-security-policy"]) != 1 || len(o.fields["date"]) != 0 {
			t.Errorf("got %+v", o)
		}
		lines[0] = ":method HEAD"
		if head := r.ask(lines...); head.status != "200" || head.body != "" || head.fields["content-length"][0] != fmt.Sprint(len(o.body)) {
			t.Errorf("got %+v", head)
		}
		// The loopback of the far end has other ports, which need credentials.
		if o := r.ask(":method GET", ":scheme http", ":authority localhost:8", ":path /"); o.status != "407" {
			t.Errorf("got %+v", o)
		}
	})
}
