package local

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	proxyproto "github.com/pires/go-proxyproto"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/testnet"
)

const signature2 = "\r\n\r\n\x00\r\nQUIT\n"

// header2 is a header of version 2 for TCP over IPv4, from 192.0.2.9:9.
const header2 = signature2 + "\x21\x11\x00\x0c\xc0\x00\x02\x09\xc0\x00\x02\x01\x00\x09\x00\x50"

// TestProxyHeader reads what the protocol's text has, and refuses the rest.
func TestProxyHeader(t *testing.T) {
	for name, test := range map[string]struct{ in, client, ahead string }{
		"TCP4":        {"PROXY TCP4 192.0.2.9 192.0.2.1 9 80\r\nhello", "192.0.2.9:9", "hello"},
		"TCP6":        {"PROXY TCP6 2001:db8::9 2001:db8::1 9 80\r\n", "[2001:db8::9]:9", ""},
		"mapped":      {"PROXY TCP6 ::ffff:192.0.2.9 2001:db8::1 9 80\r\n", "192.0.2.9:9", ""},
		"UNKNOWN":     {"PROXY UNKNOWN\r\n\x05\x01\x00", "", "\x05\x01\x00"},
		"v2":          {header2 + "hello", "192.0.2.9:9", "hello"},
		"v2 with TLV": {signature2 + "\x21\x11\x00\x10\xc0\x00\x02\x09\xc0\x00\x02\x01\x00\x09\x00\x50\x04\x00\x01xhello", "192.0.2.9:9", "hello"},
		"v2 IPv6":     {signature2 + "\x21\x21\x00\x24" + string(net.ParseIP("2001:db8::9")) + string(net.ParseIP("2001:db8::1")) + "\x00\x09\x00\x50", "[2001:db8::9]:9", ""},
		"v2 LOCAL":    {signature2 + "\x20\x00\x00\x00hello", "", "hello"},
	} {
		client, ahead, err := readProxyHeader(bufio.NewReader(strings.NewReader(test.in)))
		if err != nil || string(ahead) != test.ahead || client.IsValid() != (test.client != "") || client.IsValid() && client.String() != test.client {
			t.Errorf("%s: %v, %q, %v", name, client, ahead, err)
		}
	}
	for name, in := range map[string]string{
		"nothing":         "",
		"SOCKS":           "\x05\x01\x00",
		"HTTP":            "GET / HTTP/1.1\r\n\r\n",
		"half":            "PROXY TCP4 192.0.2.9 192.0.2.1 9",
		"LF alone":        "PROXY TCP4 192.0.2.9 192.0.2.1 9 80\n",
		"too long":        "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n",
		"no address":      "PROXY TCP4 host.example 192.0.2.1 9 80\r\n",
		"wrong family":    "PROXY TCP4 2001:db8::9 2001:db8::1 9 80\r\n",
		"port":            "PROXY TCP4 192.0.2.9 192.0.2.1 65536 80\r\n",
		"v2 half":         header2[:20],
		"v2 version 3":    strings.Replace(header2, "\x21\x11", "\x31\x11", 1),
		"v2 command":      strings.Replace(header2, "\x21\x11", "\x22\x11", 1),
		"v2 UDP":          strings.Replace(header2, "\x21\x11", "\x21\x12", 1),
		"v2 short":        signature2 + "\x21\x11\x00\x04\xc0\x00\x02\x09",
		"v2 UNIX":         signature2 + "\x21\x31\x00\xd8" + strings.Repeat("x", 216),
		"v2 65,535 bytes": signature2 + "\x21\x11\xff\xff" + strings.Repeat("x", 65535),
	} {
		if client, _, err := readProxyHeader(bufio.NewReader(strings.NewReader(in))); err == nil {
			t.Errorf("%s: taken, from %v", name, client)
		}
	}
}

// TestProxyHeaderInPieces pins what docs/listeners.md says: version 1 has to come whole.
func TestProxyHeaderInPieces(t *testing.T) {
	for in, taken := range map[string]bool{"PROXY TCP4 192.0.2.9 192.0.2.1 9 80\r\n": false, header2: true} {
		if _, _, err := readProxyHeader(bufio.NewReader(iotest.OneByteReader(strings.NewReader(in)))); (err == nil) != taken {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// FuzzProxyHeader: what is taken is a header, and what stands behind it is lost
// nowhere.
func FuzzProxyHeader(f *testing.F) {
	for _, s := range []string{
		"PROXY TCP4 192.0.2.9 192.0.2.1 9 80\r\nhello", "PROXY TCP6 2001:db8::9 2001:db8::1 9 80\r\n", "PROXY UNKNOWN x\r\n", "PROXYn UNKNOWN x\r\n",
		header2, header2 + "hello", signature2 + "\x20\x00\x00\x00", signature2 + "\x21\x21\x00\x24", signature2, "\x05\x01\x00", "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		client, ahead, err := readProxyHeader(bufio.NewReader(r))
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(r)
		behind := bytes.Join([][]byte{ahead, rest}, nil)
		if !bytes.HasSuffix(data, behind) {
			t.Fatalf("%q stands behind the header, and not at the end", behind)
		}
		head := data[:len(data)-len(behind)]
		if !bytes.HasPrefix(head, []byte("PROXY ")) && !bytes.HasPrefix(head, []byte(signature2)) {
			t.Errorf("%q was taken for a header", head)
		}
		if again, _, err := readProxyHeader(bufio.NewReader(bytes.NewReader(head))); err != nil || again != client {
			t.Errorf("without what stands behind: %v, %v; with: %v", again, err, client)
		}
		if client.IsValid() && client.Addr().Is4In6() {
			t.Errorf("the client is %v", client)
		}
	})
}

// proxied is a listener that takes the PROXY protocol from 127.0.0.1.
func proxied(hop, from string) string {
	return strings.Replace(through(hop), `address = "127.0.0.1:0"`, "address = \"127.0.0.1:0\"\nproxy_protocol = [\""+from+"\"]", 1)
}

const socksRequest = "\x05\x01\x00\x05\x01\x00\x03\x0etarget.example\x00\x07"

// TestProxied serves a client whose header and request come in one segment, and
// those alone who may send one.
func TestProxied(t *testing.T) {
	for name, test := range map[string]struct {
		from, says string
		want       bool
	}{
		"v1":                {"127.0.0.1", "PROXY TCP4 192.0.2.9 192.0.2.1 9 80\r\n" + socksRequest, true},
		"v2":                {"127.0.0.0/8", header2 + socksRequest, true},
		"LOCAL":             {"127.0.0.1", signature2 + "\x20\x00\x00\x00" + socksRequest, true},
		"without a header":  {"127.0.0.1", socksRequest, false},
		"v1 from strangers": {"192.0.2.0/24", "PROXY TCP4 192.0.2.9 192.0.2.1 9 80\r\n" + socksRequest, false},
		"v2 from strangers": {"192.0.2.0/24", header2 + socksRequest, false},
		"strangers without": {"192.0.2.0/24", socksRequest, true},
	} {
		t.Run(name, func(t *testing.T) {
			hop := socksServer(t, echo(t))
			base := testnet.NoDial(t)
			if test.want {
				base = testnet.Only(t, &net.Dialer{}, hop)
			}
			c, err := net.Dial("tcp", serve(t, proxied(hop, test.from), base))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = io.WriteString(c, test.says)
			got := make([]byte, 12)
			if !test.want {
				_ = chain.CloseWrite(c)
				if n, _ := io.ReadFull(c, got); n == 12 && got[1] == 0 && got[3] == 0 {
					t.Errorf("answered %q", got)
				}
				return
			}
			if _, err := io.ReadFull(c, got); err != nil || string(got[:4]) != "\x05\x00\x05\x00" {
				t.Fatalf("answer %q, %v", got, err)
			}
			checkEcho(t, c)
		})
	}
}

// TestProxiedClient: the address told is the client's, and the conn stays raw.
func TestProxiedClient(t *testing.T) {
	a, b := testnet.TCPPair(t)
	p := peersOf(&configs.Listener{ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	_, _ = io.WriteString(b, header2+"hello")
	c, err := p.unwrap(t.Context(), a, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.RemoteAddr().String(); got != "192.0.2.9:9" {
		t.Errorf("the client is %s", got)
	}
	if ahead, raw := chain.Raw(c); string(ahead) != "hello" || raw != net.Conn(a) {
		t.Errorf("%q before %T", ahead, raw)
	}
	h := &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if _, err := h.WriteTo(b); err != nil {
		t.Fatal(err)
	}
	if c, err = p.unwrap(t.Context(), a, 0); err != nil || c != net.Conn(a) {
		t.Errorf("LOCAL: %T, %v", c, err)
	}
}

// TestProxiedTimes: a proxy that sends no whole header is gone at the deadline, be it
// silent or slow.
func TestProxiedTimes(t *testing.T) {
	for name, says := range map[string]string{"nothing": "", "begin of v1": "PROX", "half of v2": header2[:20]} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := testnet.Pipe(0)
				proxy := &addressed{b, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}}
				p := peersOf(&configs.Listener{ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
				go func() {
					for i := range len(says) {
						if _, err := io.WriteString(a, says[i:i+1]); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				began := time.Now()
				c, err := p.admit(t.Context(), proxy, 10*time.Second)
				if lasted := time.Since(began); c != nil || !errors.Is(err, os.ErrDeadlineExceeded) || lasted != 10*time.Second {
					t.Errorf("after %v: %v, %v", lasted, c, err)
				}
				if _, err := a.Read(make([]byte, 1)); err == nil {
					t.Error("the conn is open")
				}
				_ = a.Close()
				time.Sleep(time.Minute) // the writer ends
			})
		})
	}
}
