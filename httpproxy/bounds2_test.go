package httpproxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

func TestSessionLimits(t *testing.T) {
	p := newProxied(t, &Server{Relay: &relay.Relay{Router: direct(testnet.NoDial(t))}})
	r := p.raw2(t)
	f, err := r.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings := f.(*http2.SettingsFrame)
	for id, want := range map[http2.SettingID]uint32{
		http2.SettingMaxConcurrentStreams: maxStreams, http2.SettingInitialWindowSize: uploadStream,
	} {
		if v, ok := settings.Value(id); !ok || v != want {
			t.Errorf("%v is %d, %v", id, v, ok)
		}
	}
	if _, ok := settings.Value(http2.SettingEnableConnectProtocol); ok {
		t.Error("extended CONNECT is offered")
	}
}

// TestSessionTimes: slow and silent clients are gone at their deadlines.
func TestSessionTimes(t *testing.T) {
	for _, test := range []struct {
		name  string
		talk  func(c net.Conn)
		after time.Duration // from the last byte of talk
	}{
		{"half of a preface", func(c net.Conn) { _, _ = io.WriteString(c, http2.ClientPreface[:10]) }, 10 * time.Second},
		{"no settings", func(c net.Conn) { _, _ = io.WriteString(c, http2.ClientPreface[:18]) }, 10 * time.Second},
		{"no settings behind the preface", func(c net.Conn) { _, _ = io.WriteString(c, http2.ClientPreface) }, 2 * time.Second},
		{"no request", func(c net.Conn) { newRaw2(t, c) }, 2*time.Minute + time.Second},
		{"half of a head", func(c net.Conn) {
			r := newRaw2(t, c)
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		}, 2*time.Minute + time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := testnet.Pipe(0)
				s := &Server{Relay: &relay.Relay{}}
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = s.ServeConn(t.Context(), b)
				}()
				began := time.Now()
				test.talk(a)
				_, _ = io.Copy(io.Discard, a)
				if d := time.Since(began); d != test.after {
					t.Errorf("closed after %v, want %v", d, test.after)
				}
				_ = a.Close()
				<-done
			})
		})
	}
}

// TestSessionStopsWithItsContext: tunnels and requests included.
func TestSessionStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := testnet.Pipe(0)
		var mu sync.Mutex // each stream dials in a goroutine of its own
		var far []net.Conn
		s := &Server{Relay: &relay.Relay{Router: direct(chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			here, there := testnet.Pipe(0)
			mu.Lock()
			defer mu.Unlock()
			far = append(far, there)
			return here, nil
		}))}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.ServeConn(ctx, b) }()
		go func() { _, _ = io.Copy(io.Discard, a) }()
		r := newRaw2(t, a)
		r.send(false, ":method CONNECT", ":authority a.example:1")
		r.send(false, get2("/")...)
		synctest.Wait()
		if n := s.Relay.Live(); n != 2 || len(far) != 2 {
			t.Fatalf("%d tunnels, %d dials", n, len(far))
		}
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("error %v", err)
		}
		for _, c := range far {
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
		synctest.Wait()
		if n := s.Relay.Live(); n != 0 {
			t.Errorf("%d tunnels are left", n)
		}
		_ = a.Close()
		_ = s.Close()
	})
}

// TestSessionGoesAway: after Close no more streams begin, and those that run go on.
func TestSessionGoesAway(t *testing.T) {
	p := newProxied(t, &Server{})
	p.rawTarget(t, func(c net.Conn, br *bufio.Reader) { _, _ = io.Copy(c, br) })
	r := p.raw2(t)
	stream := r.send(false, ":method CONNECT", ":authority a.example:1")
	for {
		f, err := r.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := f.(*http2.MetaHeadersFrame); ok {
			_ = p.s.Close()
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			if g.ErrCode != http2.ErrCodeNo {
				t.Errorf("code %v", g.ErrCode)
			}
			break
		}
	}
	_ = r.WriteData(stream, true, []byte("still here"))
	if o := r.receive(stream); o.body != "still here" || o.cut {
		t.Errorf("got %+v", o)
	}
}

// TestStalledUploads: tunnels to targets that read nothing hold up no other tunnel of
// their session.
func TestStalledUploads(t *testing.T) {
	p := newProxiedBy(t, &Server{}, true)
	stall := make(chan struct{})
	p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
		if first, _ := br.ReadByte(); first == 's' {
			<-stall
			return
		}
		_, _ = io.WriteString(c, "ok")
		_, _ = io.Copy(io.Discard, br)
	})
	d := wrap(t, HopTLS(p.addr, HopOptions{TLS: trust(testCert())}), &net.Dialer{})
	dial := func() net.Conn {
		c, err := d.DialContext(t.Context(), "tcp", "a.example:1")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = chain.Abort(c) })
		return c
	}
	defer close(stall)
	for range 4 {
		go func(c net.Conn) { _, _ = c.Write([]byte(strings.Repeat("s", 64<<20))) }(dial())
	}
	moving := dial()
	_ = moving.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(moving, strings.Repeat("m", 8<<20)); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(moving, make([]byte, 2)); err != nil {
		t.Error(err)
	}
}

// hanging is a dialer whose dials end with their ctx, and how many there were at
// once, at most.
type hanging struct{ now, most atomic.Int64 }

func (h *hanging) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	n := h.now.Add(1)
	defer h.now.Add(-1)
	for most := h.most.Load(); n > most && !h.most.CompareAndSwap(most, n); most = h.most.Load() {
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestTooManyStreams: one stream more than there is room for is refused, and the
// others go on.
func TestTooManyStreams(t *testing.T) {
	h := &hanging{}
	p := newProxied(t, &Server{Relay: &relay.Relay{Router: direct(h)}})
	r := p.raw2(t)
	if o := r.ask(":method GET", ":scheme http", ":authority "+p.addr, ":path /x"); o.status != "404" { // settings are through
		t.Fatalf("got %+v", o)
	}
	var last uint32
	for range maxStreams + 1 {
		last = r.send(false, ":method CONNECT", ":authority a.example:1")
	}
	if o := r.receive(last); o.reset != http2.ErrCodeRefusedStream && o.reset != http2.ErrCodeProtocol || o.status != "" {
		t.Errorf("got %+v", o)
	}
	_ = r.WriteRSTStream(last-2, http2.ErrCodeCancel)
	if o := r.ask(":method GET", ":scheme http", ":authority "+p.addr, ":path /x"); o.status != "404" {
		t.Errorf("after one ended, got %+v", o)
	}
	if most := h.most.Load(); most > maxStreams {
		t.Errorf("%d dials at once", most)
	}
}

// TestRapidReset: requests that are taken back at once (CVE-2023-44487) never make for
// more work at a time than streams there may be.
func TestRapidReset(t *testing.T) {
	h := &hanging{}
	p := newProxied(t, &Server{Relay: &relay.Relay{Router: direct(h)}})
	r := p.raw2(t)
	go func() { _, _ = io.Copy(io.Discard, r.conn) }()
	for range 10 * maxStreams {
		r.out.Reset()
		block := append([]byte(nil), connectBlock(r)...)
		if r.WriteHeaders(http2.HeadersFrameParam{StreamID: r.next, BlockFragment: block, EndHeaders: true}) != nil ||
			r.WriteRSTStream(r.next, http2.ErrCodeCancel) != nil {
			break // it was cut off, which is an answer, too
		}
		r.next += 2
	}
	_ = r.conn.Close()
	if most := h.most.Load(); most > maxStreams {
		t.Errorf("%d dials at once", most)
	}
}

func connectBlock(r *raw2) []byte {
	_ = r.enc.WriteField(hpack.HeaderField{Name: ":method", Value: "CONNECT"})
	_ = r.enc.WriteField(hpack.HeaderField{Name: ":authority", Value: "a.example:1"})
	return r.out.Bytes()
}
