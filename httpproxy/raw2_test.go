package httpproxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A raw2 is a client on HTTP/2 that may send what no decent one does.
type raw2 struct {
	t    testing.TB
	conn net.Conn
	*http2.Framer
	out  bytes.Buffer
	enc  *hpack.Encoder
	next uint32 // the next stream
}

// newRaw2 begins a session on conn.
func newRaw2(t testing.TB, conn net.Conn) *raw2 {
	t.Helper()
	r := &raw2{t: t, conn: conn, Framer: http2.NewFramer(conn, conn), next: 1}
	r.enc = hpack.NewEncoder(&r.out)
	r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return r
}

// raw2 begins a session with the proxy, by TLS if it takes that.
func (p *proxied) raw2(t testing.TB) *raw2 {
	t.Helper()
	conn := p.dial(t)
	if p.tls {
		c := trust(testCert())
		c.ServerName, c.NextProtos = "hop1", []string{"h2"}
		conn = tls.Client(conn, c)
	}
	return newRaw2(t, conn)
}

// send begins a stream with lines such as ":method GET", and ends it if there is
// nothing more to come.
func (r *raw2) send(end bool, lines ...string) (stream uint32) {
	r.t.Helper()
	r.out.Reset()
	for _, line := range lines {
		name, value, _ := strings.Cut(line, " ")
		_ = r.enc.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	stream = r.next
	r.next += 2
	block, first := r.out.Bytes(), true
	for first || len(block) > 0 {
		part := block[:min(len(block), 16<<10)]
		block = block[len(part):]
		var err error
		if first {
			err = r.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: part, EndStream: end, EndHeaders: len(block) == 0})
		} else {
			err = r.WriteContinuation(stream, len(block) == 0, part)
		}
		if first = false; err != nil {
			r.t.Fatal(err)
		}
	}
	return stream
}

// An outcome is what became of a stream.
type outcome struct {
	status  string
	fields  map[string][]string
	interim []string
	body    string
	trailer map[string][]string
	reset   http2.ErrCode // of RST_STREAM, or GOAWAY
	cut     bool          // a reset came before the end
}

// receive reads until stream has ended. Others are dropped.
func (r *raw2) receive(stream uint32) (o outcome) {
	r.t.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		f, err := r.ReadFrame()
		if err != nil {
			r.t.Fatalf("%v, after %+v", err, o)
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = r.WriteSettingsAck()
			}
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				o.reset, o.cut = f.ErrCode, true
				return o
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == stream {
				o.reset, o.cut = f.ErrCode, true
				return o
			}
		case *http2.DataFrame:
			if n := uint32(len(f.Data())); n > 0 {
				_ = r.WriteWindowUpdate(0, n)
			}
			if f.StreamID == stream {
				o.body += string(f.Data())
				if f.StreamEnded() {
					return o
				}
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID == stream && o.head(f) {
				return o
			}
		}
	}
}

// head notes a head or a trailer section, and reports whether the stream has ended.
func (o *outcome) head(f *http2.MetaHeadersFrame) (ended bool) {
	fields := make(map[string][]string)
	for _, h := range f.RegularFields() {
		fields[h.Name] = append(fields[h.Name], h.Value)
	}
	switch status := f.PseudoValue("status"); {
	case status == "":
		o.trailer = fields
	case status[0] == '1':
		o.interim = append(o.interim, status)
	default:
		o.status, o.fields = status, fields
	}
	return f.StreamEnded()
}

// ask sends a request without a body and returns what becomes of it.
func (r *raw2) ask(lines ...string) outcome {
	r.t.Helper()
	return r.receive(r.send(true, lines...))
}

// get is the head of a request for a path at a.example.
func get2(path string, more ...string) []string {
	return append([]string{":method GET", ":scheme http", ":authority a.example", ":path " + path}, more...)
}
