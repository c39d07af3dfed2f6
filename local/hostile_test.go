package local

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestCrossProtocol sends what a web page can make a browser send to a port, and
// what other programs' protocols begin with, to a listener that would let anything
// go direct: none of it opens a tunnel, or gets more than a refusal.
func TestCrossProtocol(t *testing.T) {
	connect := "CONNECT inside.example:22 HTTP/1.1\r\nHost: inside.example:22\r\n\r\n"
	post := func(fields, body string) string {
		return fmt.Sprintf("POST / HTTP/1.1\r\nHost: ADDR\r\nOrigin: http://evil.example\r\n%sContent-Length: %d\r\n\r\n%s", fields, len(body), body)
	}
	for name, says := range map[string]string{
		"a form with a CONNECT":    post("Content-Type: text/plain\r\n", connect),
		"a form with SOCKS5":       post("Content-Type: text/plain\r\n", socksRequest),
		"a form with SOCKS4":       post("Content-Type: text/plain\r\n", "\x04\x01\x00\x16\x7f\x00\x00\x01\x00"),
		"a form with a GET":        post("Content-Type: text/plain\r\n", "GET http://inside.example/ HTTP/1.1\r\nHost: inside.example\r\n\r\n"),
		"a long form":              post("", strings.Repeat("x", 100<<10)+connect),
		"a form without its end":   strings.Replace(post("", connect), "Content-Length: ", "Content-Length: 9", 1),
		"multipart":                post("Content-Type: multipart/form-data; boundary=x\r\n", "--x\r\n\r\n"+connect+"\r\n--x--\r\n"),
		"chunked":                  "POST / HTTP/1.1\r\nHost: ADDR\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n" + connect + "\r\n0\r\n\r\n",
		"two lengths":              "POST / HTTP/1.1\r\nHost: ADDR\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + connect,
		"preflight":                "OPTIONS / HTTP/1.1\r\nHost: ADDR\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: CONNECT\r\n\r\n",
		"a websocket":              "GET / HTTP/1.1\r\nHost: ADDR\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://evil.example\r\n\r\n",
		"rebinding":                "GET / HTTP/1.1\r\nHost: inside.evil.example\r\n\r\n",
		"a path like a URL":        "GET /http://inside.example/ HTTP/1.1\r\nHost: ADDR\r\nSec-Fetch-Site: cross-site\r\n\r\n",
		"TLS":                      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + connect,
		"TURN over TCP":            "\x00\x03\x00\x00\x21\x12\xa4\x42" + strings.Repeat("x", 12) + socksRequest,
		"SSH":                      "SSH-2.0-x\r\n" + socksRequest,
		"SMTP":                     "EHLO x\r\n" + connect,
		"FTP":                      "USER x\r\nPORT 127,0,0,1,0,22\r\n",
		"PROXY protocol":           "PROXY TCP4 192.0.2.9 192.0.2.1 9 80\r\n" + socksRequest,
		"PROXY protocol 2":         header2 + socksRequest,
		"HTTP/2 without its end":   "PRI * HTTP/2.0\r\n\r\n" + connect,
		"HTTP/0.9":                 "GET /\r\n" + connect,
		"an empty line, then more": "\r\n\r\n" + socksRequest,
	} {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nto = \"direct\"\n[timeouts]\nhandshake = \"1s\"\n", testnet.NoDial(t))
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go func() {
				_, _ = io.WriteString(c, strings.ReplaceAll(says, "ADDR", addr))
				_ = chain.CloseWrite(c)
			}()
			got, _ := io.ReadAll(c)
			for _, yes := range []string{"HTTP/1.1 200", "HTTP/1.1 101", "Access-Control-", "\x05\x00\x05\x00", "\x00\x5a"} {
				if strings.Contains(string(got), yes) {
					t.Errorf("answered %q", got)
				}
			}
		})
	}
}
