package h2

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// TestSilentPeer: one that is silent is asked, doubted, and given up.
func TestSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes atomic.Int32
		s, p := begin(t, 0, Options{PingAfter: 10 * time.Second, Changed: func(*Session) { changes.Add(1) }})
		st := tunnel(t, s, p)
		began := time.Now()
		ping := p.expect("[FrameHeader PING len=8]").(*http2.PingFrame)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("asked after %v", took)
		}
		must(t, p.WritePing(true, ping.Data))
		p.expect("[FrameHeader PING len=8]")
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("asked again after %v", took)
		}
		time.Sleep(1500 * time.Millisecond)
		if !s.State().Doubt {
			t.Error("no doubt")
		}
		_, err := st.Read(make([]byte, 1))
		if took := time.Since(began); took != 25*time.Second || !errors.Is(err, errSilent) {
			t.Errorf("given up after %v: %v", took, err)
		}
		_ = st.Close()
		synctest.Wait()
		if changes.Load() == 0 || !s.State().Ended {
			t.Error("nobody is told")
		}
	})
}

// TestDoubt: a stream that is opened after a silence asks whether somebody is there.
func TestDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 0, Options{})
		tunnel(t, s, p)
		time.Sleep(2 * time.Second)
		st := open(t, s)
		p.expect("[FrameHeader HEADERS flags=END_HEADERS stream=3 len=2]")
		ping := p.expect("[FrameHeader PING len=8]").(*http2.PingFrame)
		time.Sleep(1100 * time.Millisecond)
		if !s.State().Doubt {
			t.Error("no doubt")
		}
		must(t, p.WritePing(true, ping.Data))
		synctest.Wait()
		if s.State().Doubt {
			t.Error("doubt")
		}
		_ = st.Close()
	})
}

// TestSlowUplink: a PING behind bytes that the path still takes is no reason to give up.
func TestSlowUplink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 0, Options{PingAfter: 10 * time.Second}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 16 << 20})
		st := tunnel(t, s, p)
		must(t, p.WriteWindowUpdate(0, 16<<20))
		synctest.Wait()
		go func() { _, _ = st.Write(make([]byte, 8<<20)) }()
		buf := make([]byte, 32<<10)
		for range 60 { // a minute without a word from the server, which takes 32 KiB/s
			time.Sleep(time.Second)
			if _, err := io.ReadFull(p.conn, buf); err != nil {
				t.Fatal(err)
			}
		}
		if s.State().Ended {
			t.Error("given up")
		}
		began := time.Now()
		_, err := st.Read(buf) // now it takes nothing any more
		if took := time.Since(began); took > 15*time.Second || !errors.Is(err, errSilent) {
			t.Errorf("given up after %v: %v", took, err)
		}
		_ = st.Close()
	})
}

// TestPings: the peer's are answered, but not without bounds.
func TestPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 0, Options{})
		must(t, p.WritePing(false, [8]byte{1, 2, 3}))
		if f := p.expect("[FrameHeader PING flags=ACK len=8]").(*http2.PingFrame); f.Data != [8]byte{1, 2, 3} {
			t.Errorf("answered %x", f.Data)
		}
		for p.WritePing(false, [8]byte{}) == nil { // and it reads no more
		}
		synctest.Wait()
		if !s.State().Ended {
			t.Error("a flood of PINGs is not the end")
		}
	})
}

// TestBulk tells of streams that move much.
func TestBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var news atomic.Int32
		s, p := begin(t, 0, Options{Changed: func(s *Session) {
			if s.State().Bulk {
				news.Add(1)
			}
		}})
		st, other := tunnel(t, s, p), tunnel(t, s, p)
		f := newFlood(p, st.id)
		done := make(chan struct{})
		go func() { f.run(); close(done) }()
		read := func(n int64) {
			if _, err := io.CopyN(io.Discard, st, n); err != nil {
				t.Fatal(err)
			}
		}
		read(bulk / 2)
		time.Sleep(bulkTime)
		read(bulk / 2)
		if s.State().Bulk {
			t.Error("bulk at a megabyte in a second")
		}
		read(2 * bulk)
		if !s.State().Bulk || s.Flows() != 1 || news.Load() != 1 {
			t.Errorf("%+v, %d flows, told %d times", s.State(), s.Flows(), news.Load())
		}
		time.Sleep(bulkRest + 1)
		if s.State().Bulk || s.Flows() != 0 {
			t.Error("bulk that rests is bulk")
		}
		_ = st.Close()
		_ = other.Close()
		_ = p.conn.Close()
		<-done
	})
}
