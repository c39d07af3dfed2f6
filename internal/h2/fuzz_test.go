package h2

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// FuzzServer feeds whatever a server may send to a session with two tunnels, one of
// them accepted. Whatever it is, nothing panics, nothing waits beyond its deadline
// or the conn's end, and an error is one of the session's or the stream's.
func FuzzServer(f *testing.F) {
	for _, v := range violations {
		f.Add(sent(f, v.send), uint16(1000))
	}
	f.Add(sent(f, func(p *peer) {
		p.answer(3, false, ":status", "200", "capsule-protocol", "?1")
		_ = p.WriteDataPadded(1, false, []byte("hello"), make([]byte, 7))
		_ = p.WriteData(3, true, []byte("all"))
		_ = p.WriteWindowUpdate(0, 1000)
		_ = p.WriteWindowUpdate(1, 1000)
		_ = p.WritePing(false, [8]byte{1})
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
		_ = p.WriteSettingsAck()
		p.answer(1, true, "trailer", "x")
		_ = p.WriteGoAway(1, http2.ErrCodeNo, nil)
		_ = p.WriteRSTStream(1, http2.ErrCodeCancel)
	}), uint16(3))
	f.Add([]byte(strings.Repeat("\x00\x00\x00\x00\x00\x00\x00\x00\x01", 50)), uint16(7))
	f.Fuzz(func(t *testing.T, b []byte, piece uint16) {
		synctest.Test(t, func(t *testing.T) {
			s, p := begin(t, 0, Options{Budget: NewBudget(1 << 20)})
			one, two := tunnel(t, s, p), open(t, s)
			go func() { _, _ = io.Copy(io.Discard, p.conn) }()
			go func() {
				for rest := b; len(rest) > 0; {
					n := min(len(rest), 1+int(piece))
					if _, err := p.conn.Write(rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
			}()
			for _, st := range []*Stream{one, two} {
				must(t, st.SetDeadline(time.Now().Add(time.Second)))
				_, _ = st.Write([]byte("x"))
				_, _ = io.ReadAll(st)
			}
			_ = p.conn.Close()
			must(t, one.SetDeadline(time.Time{}))
			if _, err := io.ReadAll(one); err == nil && !one.over() {
				t.Error("the conn's end passes for the stream's")
			}
			if _, err := two.Answer(t.Context()); err != nil && !strings.Contains(err.Error(), "HTTP/2") {
				t.Errorf("error %v", err)
			}
			_ = one.Close()
			_ = two.Close()
			synctest.Wait()
			if state := s.State(); !state.Ended || state.Streams > s.reserved {
				t.Errorf("%+v", state)
			}
			if s.o.Budget.Left() != 1<<20 {
				t.Errorf("%d of the budget are left", s.o.Budget.Left())
			}
		})
	})
}

// sent returns what a peer sends.
func sent(t testing.TB, by func(*peer)) []byte {
	var out bytes.Buffer
	p := newPeer(t, nil)
	p.Framer = http2.NewFramer(&out, nil)
	p.conn = written{&out}
	by(p)
	return out.Bytes()
}

// written is a conn of which only Write is there.
type written struct{ *bytes.Buffer }

func (written) Close() error                     { return nil }
func (written) LocalAddr() net.Addr              { return nil }
func (written) RemoteAddr() net.Addr             { return nil }
func (written) SetDeadline(time.Time) error      { return nil }
func (written) SetReadDeadline(time.Time) error  { return nil }
func (written) SetWriteDeadline(time.Time) error { return nil }
