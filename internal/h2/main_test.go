package h2

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/byway-proxy/byway/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A peer is a server of which every frame is a test's to say, by an implementation
// of the frames that is not ours.
type peer struct {
	t    testing.TB
	conn net.Conn
	*http2.Framer
	enc   *hpack.Encoder
	block bytes.Buffer
}

func newPeer(t testing.TB, conn net.Conn) *peer {
	p := &peer{t: t, conn: conn, Framer: http2.NewFramer(conn, conn)}
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.SetMaxReadFrameSize(1 << 20)
	p.enc = hpack.NewEncoder(&p.block)
	return p
}

// begin starts a session over a path with a one-way delay, and returns the server's
// end when both have told their settings.
func begin(t testing.TB, delay time.Duration, o Options, settings ...http2.Setting) (*Session, *peer) {
	t.Helper()
	near, far := testnet.Pipe(delay)
	return beginOn(t, near, far, o, settings...)
}

// beginOn is begin on the two ends of a conn.
func beginOn(t testing.TB, near, far net.Conn, o Options, settings ...http2.Setting) (*Session, *peer) {
	t.Helper()
	if o.PingAfter == 0 {
		o.PingAfter = time.Hour
	}
	s := Start(near, o)
	p := newPeer(t, far)
	t.Cleanup(func() {
		_ = far.Close()
		_ = near.Close()
	})
	buf := make([]byte, len(preface))
	if _, err := io.ReadFull(far, buf); err != nil || string(buf) != preface {
		t.Fatalf("preface %q, %v", buf, err)
	}
	must(t, p.WriteSettings(settings...))
	p.expect("[FrameHeader SETTINGS len=24]")
	p.expect("[FrameHeader WINDOW_UPDATE len=4]")
	must(t, p.WriteSettingsAck())
	p.expect("[FrameHeader SETTINGS flags=ACK len=0]")
	return s, p
}

// next reads a frame.
func (p *peer) next() http2.Frame {
	p.t.Helper()
	f, err := p.ReadFrame()
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

// expect reads a frame that must read so.
func (p *peer) expect(want string) http2.Frame {
	p.t.Helper()
	f := p.next()
	if got := f.Header().String(); got != want {
		p.t.Fatalf("got the frame %s, want %s", got, want)
	}
	return f
}

// answer sends a head with fields by pairs.
func (p *peer) answer(id uint32, end bool, fields ...string) {
	p.t.Helper()
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		must(p.t, p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	must(p.t, p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block.Bytes(), EndHeaders: true, EndStream: end}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var connect = Request{Fields: []Field{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: "target:80"}}}

// open asks for a tunnel, and does not wait.
func open(t testing.TB, s *Session) *Stream {
	t.Helper()
	if !s.Reserve() {
		t.Fatal("no slot")
	}
	st, err := s.Open(connect)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// tunnel opens one, which the peer accepts.
func tunnel(t testing.TB, s *Session, p *peer) *Stream {
	t.Helper()
	st := open(t, s)
	for {
		if f := p.next(); f.Header().Type == http2.FrameHeaders {
			break
		}
	}
	p.answer(st.id, false, ":status", "200")
	if resp, err := st.Answer(t.Context()); err != nil || resp.Status != 200 {
		t.Fatal(resp, err)
	}
	return st
}
