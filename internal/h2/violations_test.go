package h2

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

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
