package httpproxy

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzRequestHead compares the strict check with net/http: whatever the check
// accepts, net/http must take for the same message, or refuse.
func FuzzRequestHead(f *testing.F) {
	for _, seed := range []string{
		"GET http://a.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n",
		"POST http://a.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"POST http://a.example/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTrailer: X\r\n\r\n0\r\n\r\n",
		"POST http://a.example/ HTTP/1.0\r\nContent-Length: 007\r\nConnection: keep-alive\r\n\r\n",
		"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX:\t y \t\r\nPragma: no-cache\r\nhost : b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\n\r\nX: b\r\n c\r\n\r\n",
		"G\x00T / HTTP/9.9\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"GET /proxy.pac HTTP/1.1\r\nHost: [::1]:1080\r\nOrigin: null\r\nSec-Fetch-Site: cross-site\r\n\r\n",
		"TRACE http://[2001:db8::1]:81/ HTTP/1.1\r\nHost: [2001:db8::1]:81\r\nMax-Forwards: 0\r\nProxy-Authorization: Bearer t\r\nProxy-Authorization:\r\n\r\n",
		"PUT http://a.example HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		end, next, refused := headEnd(b, 0)
		if refused == nil && end == 0 && next > len(b) {
			t.Fatalf("looked at %d of %d bytes", next, len(b))
		}
		for cut := range len(b) { // in two pieces, the result is the same
			e, n, r := headEnd(b[:cut], 0)
			if r == nil && e == 0 {
				e, _, r = headEnd(b, n)
			}
			if (r == nil) != (refused == nil) || r == nil && e != end && e != 0 {
				t.Fatalf("cut at %d: end %d, %v; in one piece: %d, %v", cut, e, r, end, refused)
			}
			if cut > 256 {
				break
			}
		}
		if refused != nil || end == 0 {
			return
		}
		h, refused := parseHead(b[:end])
		if refused != nil {
			return
		}
		br := bufio.NewReader(bytes.NewReader(b))
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		sameAsNetHTTP(t, h, r)
		if br.Buffered() != len(b)-end && len(b) < 4096 {
			t.Errorf("net/http ends the head %d bytes before the end, we %d", br.Buffered(), len(b)-end)
		}
	})
}

func sameAsNetHTTP(t *testing.T, h *requestHead, r *http.Request) {
	length := r.ContentLength
	if r.Method != h.method || r.RequestURI != h.target || r.ProtoMajor != 1 || r.ProtoMinor != int(h.minor) {
		t.Errorf("net/http reads %s %s %s, we %s %s HTTP/1.%d", r.Method, r.RequestURI, r.Proto, h.method, h.target, h.minor)
	}
	if chunks := len(r.TransferEncoding) > 0; chunks != h.chunked || chunks && length != -1 || !chunks && length != h.length {
		t.Errorf("net/http reads a length of %d, %v; we %d, chunked %v", length, r.TransferEncoding, h.length, h.chunked)
	}
	if !slices.Equal(r.Header["Proxy-Authorization"], h.auth) {
		t.Errorf("net/http reads the credentials %q, we %q", r.Header["Proxy-Authorization"], h.auth)
	}
	if ours := foreign(r.Header); ours != h.foreign {
		t.Errorf("by net/http a web page asks: %v, by us %v", ours, h.foreign)
	}
	for name, values := range r.Header {
		for _, v := range append(values, name) {
			if strings.ContainsAny(v, "\r\n\x00") {
				t.Errorf("a line end in the field %q: %q", name, v)
			}
		}
	}
	if len(r.Header["Transfer-Encoding"]) > 0 || len(r.Header["Content-Length"]) > 1 {
		t.Errorf("framing fields are left over: %v", r.Header)
	}
}

// FuzzConnectReply reads answers whole and byte by byte.
func FuzzConnectReply(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\n\r\ndata",
		"HTTP/1.0 200\r\nProxy-agent: x\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 502 x\r\nProxy-Status: a; error=connection_refused, \"b;\\\"\"; error=x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 407 x\r\nTransfer-Encoding: chunked\r\nA: b\r\n c\r\n\r\n",
		"HTTP/1.1 101 x\r\n\r\n", "HTTP/1.1 200 OK\n\n", "ICY 200 OK\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rep, rest, err := readReply(bytes.NewReader(b))
		rep1, rest1, err1 := readReply(iotest.OneByteReader(bytes.NewReader(b)))
		if (err == nil) != (err1 == nil) {
			t.Fatalf("whole: %v, byte by byte: %v", err, err1)
		}
		if err != nil {
			return
		}
		// Nothing is lost and nothing made up; byte by byte, nothing is read ahead.
		if rep != rep1 || len(rest1) != 0 || !bytes.HasSuffix(b, rest) {
			t.Errorf("got %+v and %q, byte by byte %+v and %q", rep, rest, rep1, rest1)
		}
		if rep.code < 200 && rep.code != http.StatusSwitchingProtocols || rep.code > 599 {
			t.Errorf("a final status of %d", rep.code)
		}
		head := b[:len(b)-len(rest)]
		for {
			resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: http.MethodConnect})
			if err != nil {
				return // net/http is stricter here and there
			}
			if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
				if resp.StatusCode != rep.code {
					t.Errorf("net/http reads %d, we %d", resp.StatusCode, rep.code)
				}
				return
			}
			_, head, _ = bytes.Cut(head, []byte("\r\n\r\n"))
		}
	})
}

// FuzzCapsules makes sure that how the bytes come in pieces changes nothing.
func FuzzCapsules(f *testing.F) {
	f.Add([]byte("\xa0\x28\xd7\xf0\x80\x00\x00\x02hi\xa0\x28\xd7\xf1\x00"), 3)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		whole, end, done := unpack(b, len(b)+1)
		parts, end2, done2 := unpack(b, 1+(size&0x7fffffff)%100)
		if !bytes.Equal(whole, parts) || end != end2 || done != done2 || end && !done {
			t.Errorf("whole: %q, %v, %v; in parts: %q, %v, %v", whole, end, done, parts, end2, done2)
		}
	})
}
