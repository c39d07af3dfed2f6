package h2

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
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

// violations are what a peer must not send, after it has accepted stream 1, and the
// answer to it: the session's end, or that of the stream.
var violations = []struct {
	name    string
	send    func(p *peer)
	session bool
	says    string
}{
	{"DATA on no stream", raw("\x00\x00\x01\x00\x00\x00\x00\x00\x00x"), true, "stream 0"},
	{"DATA on a stream to come", func(p *peer) { _ = p.WriteData(99, false, nil) }, true, "not opened"},
	{"a stream of the server's", func(p *peer) { p.answer(2, false, ":status", "200") }, true, "not opened"},
	{"padding", raw("\x00\x00\x02\x00\x08\x00\x00\x00\x01\x05x"), true, "padding"},
	{"padding of nothing", raw("\x00\x00\x00\x00\x08\x00\x00\x00\x01"), true, "padding"},
	{"HEADERS' padding", raw("\x00\x00\x02\x01\x0c\x00\x00\x00\x01\x05x"), true, "padding"},
	{"short priority", raw("\x00\x00\x02\x01\x24\x00\x00\x00\x01xx"), true, "priority"},
	{"a frame too long", raw("\xff\xff\xff\x00\x00\x00\x00\x00\x01"), true, "frame of"},
	{"SETTINGS too long", raw("\x02\x00\x00\x04\x00\x00\x00\x00\x00"), true, "frame of"},
	{"a push", raw("\x00\x00\x04\x05\x04\x00\x00\x00\x01\x00\x00\x00\x02"), true, "push"},
	{"CONTINUATION of nothing", raw("\x00\x00\x00\x09\x04\x00\x00\x00\x01"), true, "CONTINUATION"},
	{"something amid HEADERS", raw("\x00\x00\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01"), true, "go on"},
	{"CONTINUATIONs without end", raw("\x00\x00\x01\x01\x00\x00\x00\x00\x01x" + strings.Repeat("\x00\x40\x00\x09\x00\x00\x00\x00\x01"+strings.Repeat("x", 16<<10), 5)), true, "too long"},
	{"broken packing", raw("\x00\x00\x02\x01\x04\x00\x00\x00\x01\xff\xff"), true, "protocol"},
	{"RST_STREAM's length", raw("\x00\x00\x03\x03\x00\x00\x00\x00\x01xxx"), true, "RST_STREAM"},
	{"RST_STREAM of all", raw("\x00\x00\x04\x03\x00\x00\x00\x00\x00xxxx"), true, "without a stream"},
	{"SETTINGS' length", raw("\x00\x00\x05\x04\x00\x00\x00\x00\x00xxxxx"), true, "SETTINGS"},
	{"SETTINGS of a stream", raw("\x00\x00\x00\x04\x00\x00\x00\x00\x01"), true, "on a stream"},
	{"SETTINGS' acknowledgement", raw("\x00\x00\x06\x04\x01\x00\x00\x00\x00xxxxxx"), true, "acknowledgement"},
	{"a push allowed", setting(http2.SettingEnablePush, 1), true, "push"},
	{"a frame size", setting(http2.SettingMaxFrameSize, 1000), true, "frame size"},
	{"a window", setting(http2.SettingInitialWindowSize, 1<<31), true, "window"},
	{"PING's length", raw("\x00\x00\x07\x06\x00\x00\x00\x00\x00xxxxxxx"), true, "PING"},
	{"GOAWAY's length", raw("\x00\x00\x07\x07\x00\x00\x00\x00\x00xxxxxxx"), true, "GOAWAY"},
	{"an update of none", raw("\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00"), true, "update of none"},
	{"a session's window", update(0, 1<<31-1), true, "window too large"},
	{"a stream's window", update(1, 1<<31-1), false, "window too large"},
	{"a stream's update of none", raw("\x00\x00\x04\x08\x00\x00\x00\x00\x01\x00\x00\x00\x00"), false, "update of none"},
	{"more than the window", func(p *peer) {
		_ = p.WriteData(1, false, make([]byte, initialWindow))
		_ = p.WriteData(1, false, []byte("x"))
	}, false, "window"},
	{"DATA after the end", func(p *peer) { _ = p.WriteData(1, true, nil); _ = p.WriteData(1, false, []byte("x")) }, false, ""},
	{"headers amid the data", func(p *peer) { p.answer(1, false, "a", "b") }, false, "amid"},
}

func raw(s string) func(*peer) { return func(p *peer) { _, _ = io.WriteString(p.conn, s) } }

func setting(id http2.SettingID, v uint32) func(*peer) {
	return func(p *peer) {
		b := appendHead(nil, 6, frameSettings, 0, 0)
		_, _ = p.conn.Write(appendSetting(b, uint16(id), v))
	}
}

func update(id, n uint32) func(*peer) {
	return func(p *peer) {
		_, _ = p.conn.Write(binary.BigEndian.AppendUint32(appendHead(nil, 4, frameWindow, 0, id), n))
	}
}

func TestViolations(t *testing.T) {
	for _, test := range violations {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := begin(t, 0, Options{})
				st, other := tunnel(t, s, p), tunnel(t, s, p)
				test.send(p)
				synctest.Wait()
				if s.State().Ended != test.session {
					t.Errorf("session ended: %v", !test.session)
				}
				if !test.session {
					_ = other.SetReadDeadline(time.Now())
				}
				_, err := io.ReadAll(other)
				if test.session == errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the other stream reads %v", err)
				}
				_, err = io.ReadAll(st)
				if test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
					t.Errorf("error %v, want one about %q", err, test.says)
				}
				for _, c := range []*Stream{st, other} {
					_ = c.Close()
				}
			})
		})
	}
}

// TestAnswers are heads that a stream may be answered with.
func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		fields []string
		status int // 0 means an error
	}{
		"plain":        {[]string{":status", "200"}, 200},
		"refusal":      {[]string{":status", "502", "proxy-status", "x"}, 502},
		"no status":    {[]string{"a", "b"}, 0},
		"late status":  {[]string{"a", "b", ":status", "200"}, 0},
		"two":          {[]string{":status", "200", ":status", "200"}, 0},
		"short":        {[]string{":status", "20"}, 0},
		"not a number": {[]string{":status", "2e1"}, 0},
		"101":          {[]string{":status", "101"}, 0},
		"upper case":   {[]string{":status", "200", "A", "b"}, 0},
		"a space":      {[]string{":status", "200", "a b", "b"}, 0},
		"too long":     {[]string{":status", "200", "a", strings.Repeat("x", maxHeaders)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := begin(t, 0, Options{})
				st := open(t, s)
				p.block.Reset()
				if name != "too long" {
					p.answer(1, false, test.fields...)
				} else {
					go p.answerInParts(1, test.fields...)
				}
				resp, err := st.Answer(t.Context())
				switch {
				case (test.status != 0) != (err == nil), err == nil && resp.Status != test.status:
					t.Errorf("%+v, %v", resp, err)
				}
				_ = st.Close()
			})
		})
	}
}

// answerInParts sends a head in several frames.
func (p *peer) answerInParts(id uint32, fields ...string) {
	var parts []Field
	for i := 0; i < len(fields); i += 2 {
		parts = append(parts, Field{Name: fields[i], Value: fields[i+1]})
	}
	for _, f := range parts {
		_ = p.enc.WriteField(f)
	}
	b := appendHeaders(nil, p.block.Bytes(), id)
	_, _ = p.conn.Write(b)
}
