package h2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/byway-proxy/byway/internal/testnet"
)

// TestTunnel has a tunnel's whole life, frame by frame.
func TestTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 0, Options{})
		st := open(t, s)
		if _, err := st.Write([]byte("early")); err != nil {
			t.Error(err)
		}
		h := p.expect("[FrameHeader HEADERS flags=END_HEADERS stream=1 len=18]").(*http2.MetaHeadersFrame)
		if h.PseudoValue("method") != "CONNECT" || h.PseudoValue("authority") != "target:80" || len(h.Fields) != 2 {
			t.Errorf("asked %v", h.Fields)
		}
		if d := p.expect("[FrameHeader DATA stream=1 len=5]").(*http2.DataFrame); string(d.Data()) != "early" {
			t.Errorf("sent %q along", d.Data())
		}
		p.answer(1, false, ":status", "103", "link", "x")
		p.answer(1, false, ":status", "200", "a", "b")
		resp, err := st.Answer(t.Context())
		if err != nil || resp.Status != 200 || resp.Ended || len(resp.Fields) != 1 || resp.Fields[0].Value != "b" {
			t.Fatalf("%+v, %v", resp, err)
		}
		must(t, p.WriteDataPadded(1, false, []byte("hello"), make([]byte, 9)))
		must(t, p.WriteData(1, true, []byte(" world")))
		if got, err := io.ReadAll(st); err != nil || string(got) != "hello world" {
			t.Errorf("read %q, %v", got, err)
		}
		must(t, st.CloseWrite())
		p.expect("[FrameHeader DATA flags=END_STREAM stream=1 len=0]")
		if _, err := st.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("a write after the end: %v", err)
		}
		must(t, st.Close())
		if err := st.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed twice: %v", err)
		}
		if state := s.State(); state.Streams != 0 || state.Ended {
			t.Errorf("%+v", state)
		}
		if !s.CloseIdle() || s.Reserve() {
			t.Error("an idle session is not closed")
		}
	})
}

// TestEnds tells how a stream ends for both sides by what each does.
func TestEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end   func(st *Stream, p *peer)
		sent  string // by us at last
		read  error
		write error
	}{
		"abort": {
			func(st *Stream, _ *peer) { _ = st.Abort() },
			"[FrameHeader RST_STREAM stream=1 len=4]", net.ErrClosed, net.ErrClosed,
		},
		"close": {
			func(st *Stream, p *peer) {
				_ = st.Close()
				p.expect("[FrameHeader DATA flags=END_STREAM stream=1 len=0]")
			},
			"[FrameHeader RST_STREAM stream=1 len=4]", net.ErrClosed, net.ErrClosed,
		},
		"reset": {
			func(_ *Stream, p *peer) { _ = p.WriteRSTStream(1, http2.ErrCodeInternal) },
			"", syscall.ECONNRESET, syscall.ECONNRESET,
		},
		"end, then reset": {func(_ *Stream, p *peer) {
			_ = p.WriteData(1, true, nil)
			_ = p.WriteRSTStream(1, http2.ErrCodeNo)
		}, "", io.EOF, syscall.ECONNRESET},
		"cut": {func(_ *Stream, p *peer) { _ = p.conn.Close() }, "", syscall.ECONNRESET, syscall.ECONNRESET},
		"goodbye, and cut": {func(_ *Stream, p *peer) {
			_ = p.WriteGoAway(1, http2.ErrCodeNo, nil)
			_ = p.conn.Close()
		}, "", syscall.ECONNRESET, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := begin(t, 0, Options{})
				st := tunnel(t, s, p)
				test.end(st, p)
				synctest.Wait()
				if _, err := st.Read(make([]byte, 1)); !errors.Is(err, test.read) {
					t.Errorf("read: %v", err)
				}
				if _, err := st.Write([]byte("x")); !errors.Is(err, test.write) {
					t.Errorf("write: %v", err)
				}
				if test.sent != "" {
					p.expect(test.sent)
				}
				_ = st.Close()
			})
		})
	}
}

// TestParting: what was ended in good order both ways is not reset until the peer has
// ended the stream, or time is up.
func TestParting(t *testing.T) {
	for _, ends := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s, p := begin(t, 0, Options{})
			connect := connect
			connect.Accept = func(*Response) Filter { return &untilDot{} }
			s.Reserve()
			st, err := s.Open(connect)
			must(t, err)
			p.next()
			p.answer(1, false, ":status", "200")
			_, err = st.Answer(t.Context())
			must(t, err)
			must(t, p.WriteData(1, false, []byte("bye.")))
			if got, err := io.ReadAll(st); err != nil || string(got) != "bye." {
				t.Errorf("%q, %v", got, err)
			}
			must(t, st.Close())
			p.expect("[FrameHeader DATA flags=END_STREAM stream=1 len=0]")
			began := time.Now()
			if ends {
				must(t, p.WriteData(1, true, []byte("too late")))
				synctest.Wait()
			} else {
				p.expect("[FrameHeader RST_STREAM stream=1 len=4]")
				if took := time.Since(began); took != patience {
					t.Errorf("reset after %v", took)
				}
			}
			if n := s.State().Streams; n != 0 {
				t.Errorf("%d streams", n)
			}
		})
	}
}

// untilDot is a filter whose data ends with a dot.
type untilDot struct{ over bool }

func (u *untilDot) Next(b []byte) ([]byte, int, bool) {
	if i := bytes.IndexByte(b, '.'); i >= 0 {
		u.over = true
		return b[:i+1], i + 1, true
	}
	return b, len(b), false
}

func (u *untilDot) Whole() bool { return u.over }

// TestCutShort: an end where the filter allows none is an error.
func TestCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 0, Options{})
		connect := connect
		connect.Accept = func(*Response) Filter { return &untilDot{} }
		s.Reserve()
		st, err := s.Open(connect)
		must(t, err)
		p.answer(1, false, ":status", "200")
		must(t, p.WriteData(1, true, []byte("by")))
		if got, err := io.ReadAll(st); !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != "by" {
			t.Errorf("%q, %v", got, err)
		}
		_ = st.Close()
	})
}

// TestUnprocessed: what the peer has not touched may be asked for again, and nothing else.
func TestUnprocessed(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(p *peer)
		want   [2]bool // of streams 1 and 3
	}{
		"refused": {func(p *peer) {
			_ = p.WriteRSTStream(1, http2.ErrCodeRefusedStream)
			_ = p.WriteRSTStream(3, http2.ErrCodeConnect)
		}, [2]bool{true, false}},
		"goodbye": {func(p *peer) {
			_ = p.WriteGoAway(1, http2.ErrCodeNo, nil)
			_ = p.conn.Close()
		}, [2]bool{false, true}},
		"cut": {func(p *peer) { _ = p.conn.Close() }, [2]bool{false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := begin(t, 0, Options{})
				both := []*Stream{open(t, s), open(t, s)}
				s.Reserve()
				p.next()
				p.next()
				test.answer(p)
				for i, st := range both {
					_, err := st.Answer(t.Context())
					var e *Error
					if !errors.As(err, &e) || e.Unprocessed != test.want[i] || !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("stream %d: %v", st.id, err)
					}
					_ = st.Close()
				}
				if _, err := s.Open(connect); name != "refused" {
					var e *Error
					if !errors.As(err, &e) || !e.Unprocessed || !e.Session {
						t.Errorf("a stream of a session that has ended: %v", err)
					}
				}
			})
		})
	}
}

func TestAnswerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 0, Options{})
		st := open(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := st.Answer(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		p.expect("[FrameHeader HEADERS flags=END_HEADERS stream=1 len=18]")
		p.expect("[FrameHeader RST_STREAM stream=1 len=4]")
		p.expect("[FrameHeader PING len=8]") // its answer tells that the slot is free
		p.answer(1, false, ":status", "200") // crossed the reset
		must(t, p.WriteData(1, true, []byte("x")))
		if tunnel(t, s, p); s.State().Streams != 1 {
			t.Error("the session suffered")
		}
	})
}

// TestLimit: no more streams than the peer allows, and one that was reset counts until
// the peer is known to have heard of it.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 0, Options{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
		st := tunnel(t, s, p)
		tunnel(t, s, p)
		if s.Reserve() {
			t.Error("a third of two")
		}
		_ = st.Abort()
		if s.Reserve() {
			t.Error("a third of two, the first having been reset just now")
		}
		p.expect("[FrameHeader RST_STREAM stream=1 len=4]")
		ping := p.expect("[FrameHeader PING len=8]").(*http2.PingFrame)
		must(t, p.WritePing(true, ping.Data))
		synctest.Wait()
		if !s.Reserve() {
			t.Error("a slot is lost")
		}
		s.Release()
	})
}

// eager is a conn whose peer has already spoken.
type eager struct {
	net.Conn
	t     *testing.T
	wrote atomic.Bool
}

func (e *eager) Read(p []byte) (int, error) {
	if !e.wrote.Load() {
		e.t.Error("something is read, and may be answered, before the preface is written")
	}
	return e.Conn.Read(p)
}

func (e *eager) Write(p []byte) (int, error) {
	if !e.wrote.Load() && !bytes.HasPrefix(p, []byte(preface)) {
		e.t.Errorf("the session begins with %q", p[:min(len(p), len(preface))])
	}
	time.Sleep(time.Millisecond)
	e.wrote.Store(true)
	return e.Conn.Write(p)
}

// TestPrefaceIsFirst: a server that says its settings at once gets no answer to them
// before the preface.
func TestPrefaceIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := testnet.Pipe(0)
		p := newPeer(t, far)
		must(t, p.WriteSettings())
		s := Start(&eager{Conn: near, t: t}, Options{PingAfter: time.Hour})
		time.Sleep(time.Second)
		if !s.State().Ended && s.State().Window == 0 {
			t.Error("the settings are not heard")
		}
		s.CloseIdle()
		_ = far.Close()
	})
}
