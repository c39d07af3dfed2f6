package httpproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// bytesConn is a conn that reads from a reader and keeps what is written.
type bytesConn struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (c *bytesConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *bytesConn) Write(p []byte) (int, error) { return c.out.Write(p) }

// paddedFrame is a frame as NaiveProxy's README has it.
func paddedFrame(payload string, zeros int) string {
	return string([]byte{byte(len(payload) >> 8), byte(len(payload)), byte(zeros)}) + payload + strings.Repeat("\x00", zeros)
}

func TestPaddedRead(t *testing.T) {
	eight := strings.Repeat(paddedFrame("ab", 5), 8)
	for name, test := range map[string]struct {
		in, want string
		err      error
	}{
		"nothing":             {"", "", nil},
		"one":                 {paddedFrame("hello", 3), "hello", nil},
		"without padding":     {paddedFrame("hello", 0), "hello", nil},
		"without payload":     {paddedFrame("", 255) + paddedFrame("x", 1), "x", nil},
		"bare after eight":    {eight + paddedFrame("x", 0), strings.Repeat("ab", 8) + "\x00\x01\x00x", nil},
		"large":               {paddedFrame(strings.Repeat("x", 65535), 255), strings.Repeat("x", 65535), nil},
		"cut in the head":     {"\x00\x05", "", io.ErrUnexpectedEOF},
		"cut in the payload":  {paddedFrame("hello", 0)[:5], "he", io.ErrUnexpectedEOF},
		"cut before padding":  {paddedFrame("hello", 3)[:8], "hello", io.ErrUnexpectedEOF},
		"cut in the padding":  {paddedFrame("hello", 3)[:10], "hello", io.ErrUnexpectedEOF},
		"cut before a frame":  {paddedFrame("hello", 0), "hello", nil},
		"ends after the last": {eight, strings.Repeat("ab", 8), nil},
	} {
		for how, in := range map[string]io.Reader{
			"whole": strings.NewReader(test.in), "in bytes": iotest.OneByteReader(strings.NewReader(test.in)), "with its end": iotest.DataErrReader(strings.NewReader(test.in)),
		} {
			got, err := io.ReadAll(newPadded(&bytesConn{in: in}))
			if string(got) != test.want || err != test.err {
				t.Errorf("%s, %s: %d bytes %.20q, %v; want %d, %v", name, how, len(got), got, err, len(test.want), test.err)
			}
		}
	}
}

func TestPaddedWrite(t *testing.T) {
	c := &bytesConn{}
	p := newPadded(c)
	var want []byte
	for i := range 12 {
		text := bytes.Repeat([]byte{byte('a' + i)}, 1+i*7)
		if n, err := p.Write(text); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
		want = append(want, text...)
	}
	bare := 4*1 + (8+9+10+11)*7
	wire := c.out.Bytes()
	for i := range 8 {
		n, zeros := int(wire[0])<<8|int(wire[1]), int(wire[2])
		if n != 1+i*7 || len(bytes.Trim(wire[3+n:3+n+zeros], "\x00")) != 0 {
			t.Fatalf("frame %d has %d bytes and %d of padding", i, n, zeros)
		}
		wire = wire[3+n+zeros:]
	}
	if len(wire) != bare {
		t.Errorf("%d bytes follow the frames, want %d", len(wire), bare)
	}
	if got, err := io.ReadAll(newPadded(&bytesConn{in: &c.out})); err != nil || !bytes.Equal(got, want) {
		t.Errorf("it reads as %d bytes, %v; want %d", len(got), err, len(want))
	}
}

// FuzzPadded has any bytes read as a whole and in parts, and what is written read.
func FuzzPadded(f *testing.F) {
	f.Add([]byte(paddedFrame("hello", 3)), uint8(2))
	f.Add([]byte(strings.Repeat(paddedFrame("", 1), 9)), uint8(1))
	f.Add([]byte{0xff, 0xff, 0xff, 1}, uint8(3))
	f.Fuzz(func(t *testing.T, wire []byte, size uint8) {
		whole, err1 := io.ReadAll(newPadded(&bytesConn{in: bytes.NewReader(wire)}))
		parts, err2 := io.ReadAll(newPadded(&bytesConn{in: iotest.OneByteReader(bytes.NewReader(wire))}))
		if !bytes.Equal(whole, parts) || err1 != err2 || len(whole) > len(wire) {
			t.Errorf("%d bytes, %v, and in parts %d, %v", len(whole), err1, len(parts), err2)
		}
		c := &bytesConn{}
		p := newPadded(c)
		for rest := wire; len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			if _, err := p.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if got, err := io.ReadAll(newPadded(&bytesConn{in: &c.out})); err != nil || !bytes.Equal(got, wire) {
			t.Errorf("written and read: %d bytes, %v; want %d", len(got), err, len(wire))
		}
	})
}

// TestPaddingFields looks at what both ends say: of a length within bounds, and of bytes that no
// encoder makes shorter.
func TestPaddingFields(t *testing.T) {
	for range 200 {
		for _, bounds := range [][2]int{{16, 32}, {30, 61}} {
			s := paddingText(bounds[0], bounds[1])
			if len(s) < bounds[0] || len(s) > bounds[1] || strings.Trim(s, "!#$()+<>?@[]^`{}~") != "" {
				t.Fatalf("%q", s)
			}
		}
	}
}

// TestPaddingIsAgreedUpon has hops with and without padding meet proxies with and without, first data included.
func TestPaddingIsAgreedUpon(t *testing.T) {
	for name, test := range map[string]struct {
		hop, proxy, h1 bool
		want           string
	}{
		"both":          {true, true, false, ""},
		"the proxy":     {false, true, false, ""},
		"neither":       {false, false, false, ""},
		"the hop":       {true, false, false, "takes no padding"},
		"over HTTP/1.1": {true, true, true, "takes no padding"},
		"h1, not asked": {false, true, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serveTLS(t, testnet.Listen(t), test.h1, func(w http.ResponseWriter, r *http.Request) {
				if (r.Header.Get("Padding") != "") != (test.hop && !test.h1) {
					t.Errorf("the request's padding is %q", r.Header.Get("Padding"))
				}
				p, err := Connect(w, r, relay.Request{}, ConnectOptions{Padding: test.proxy})
				if err != nil {
					t.Error(err)
					return
				}
				if conn, err := p.Accept(); err == nil {
					_, _ = io.Copy(conn, conn)
					_ = conn.Close()
				}
			})
			d := wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert()), Padding: test.hop}), &net.Dialer{})
			_, got, err := firstDial(t, d, chain.NewFirstData(nil, []byte("hello")))
			if test.want == "" && (err != nil || got != "hello") {
				t.Errorf("%q, %v", got, err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if e, ok := err.(*chain.Error); test.want != "" && (!ok || e.Phase != chain.PhaseConnect) {
				t.Errorf("%v is no failure to connect", err)
			}
		})
	}
}

// TestPaddedDeadline has a deadline pass within a frame, which then goes on.
func TestPaddedDeadline(t *testing.T) {
	here, there := testnet.TCPPair(t)
	p := newPadded(here)
	frame := paddedFrame("hello", 9)
	buf := make([]byte, 16)
	var got []byte
	for i := range len(frame) {
		if _, err := io.WriteString(there, frame[i:i+1]); err != nil {
			t.Fatal(err)
		}
		_ = p.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		n, err := p.Read(buf)
		got = append(got, buf[:n]...)
		var timeout net.Error
		if err != nil && (!errors.As(err, &timeout) || !timeout.Timeout()) {
			t.Fatal(err)
		}
	}
	if string(got) != "hello" {
		t.Errorf("%q", got)
	}
}
