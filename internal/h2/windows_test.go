package h2

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// flood sends on streams as their windows allow, without end, in frames of 16 KiB, and
// tells how large the windows have become.
type flood struct {
	p      *peer
	window map[uint32]int // left to send
	given  map[uint32]int // in all
	chunk  []byte
}

func newFlood(p *peer, ids ...uint32) *flood {
	f := &flood{p: p, window: map[uint32]int{}, given: map[uint32]int{}, chunk: make([]byte, 16<<10)}
	for _, id := range ids {
		f.window[id], f.given[id] = initialWindow, initialWindow
	}
	return f
}

// run sends until the conn ends.
func (f *flood) run() {
	for {
		for id, left := range f.window {
			for left > 0 {
				n := min(left, len(f.chunk))
				if f.p.WriteData(id, false, f.chunk[:n]) != nil {
					return
				}
				left -= n
			}
			f.window[id] = left
		}
		frame, err := f.p.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.WindowUpdateFrame:
			f.window[frame.StreamID] += int(frame.Increment)
			f.given[frame.StreamID] += int(frame.Increment)
			delete(f.window, 0)
		case *http2.PingFrame:
			_ = f.p.WritePing(true, frame.Data)
		}
	}
}

// TestWindowGrows: what a path with a long round trip carries on one stream is not
// bound by the first window: it grows beyond what the path holds (testnet's has 512 KiB
// in a round trip), as long as the budget allows, and not without end.
func TestWindowGrows(t *testing.T) {
	for _, test := range []struct {
		budget      int64
		least, most int // of the window in the end
	}{
		{1 << 30, 1 << 20, 4 << 20},
		{initialWindow, 2 * initialWindow, 2 * initialWindow},
		{initialWindow - 1, initialWindow, initialWindow},
		{0, initialWindow, initialWindow},
	} {
		synctest.Test(t, func(t *testing.T) {
			budget := NewBudget(test.budget)
			s, p := begin(t, 100*time.Millisecond, Options{Budget: budget})
			st := tunnel(t, s, p)
			synctest.Wait()
			f := newFlood(p, st.id)
			done := make(chan struct{})
			go func() { f.run(); close(done) }()
			buf := make([]byte, 32<<10)
			_ = st.SetReadDeadline(time.Now().Add(20 * time.Second))
			for {
				if _, err := st.Read(buf); errors.Is(err, os.ErrDeadlineExceeded) {
					break
				}
			}
			if st.size < test.least || st.size > test.most || test.budget-budget.Left() != int64(st.size-initialWindow) {
				t.Errorf("with %d of budget: a window of %d bytes, %d left", test.budget, st.size, budget.Left())
			}
			_ = st.Close()
			if budget.Left() != test.budget {
				t.Errorf("%d of %d came back", budget.Left(), test.budget)
			}
			_ = p.conn.Close()
			<-done
		})
	}
}

// TestWindowStaysSmall: a reader that is slow, or a path that is short, earns none.
func TestWindowStaysSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 10*time.Millisecond, Options{Budget: NewBudget(1 << 30)})
		st := tunnel(t, s, p)
		f := newFlood(p, st.id)
		done := make(chan struct{})
		go func() { f.run(); close(done) }()
		buf := make([]byte, 16<<10)
		for range 1000 {
			if _, err := io.ReadFull(st, buf); err != nil {
				t.Fatal(err)
			}
			time.Sleep(4 * time.Millisecond) // 4 MB/s
		}
		if st.size != initialWindow {
			t.Errorf("a window of %d bytes", st.size)
		}
		_ = st.Close()
		_ = p.conn.Close()
		<-done
	})
}

// TestSlowReader: one stream that nobody reads holds its window, and no other stream
// is the slower for it, for however long.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 0, Options{})
		slow, quick := tunnel(t, s, p), tunnel(t, s, p)
		f := newFlood(p, slow.id, quick.id)
		done := make(chan struct{})
		go func() { f.run(); close(done) }()
		buf := make([]byte, 32<<10)
		total := 0
		for total < sessionWindow+1<<20 {
			n, err := quick.Read(buf)
			if total += n; err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		held := 0
		for b := slow.held.first; b != nil; b = b.next {
			held += b.to - b.from
		}
		if held != initialWindow {
			t.Errorf("%d bytes are held for a reader that stands still", held)
		}
		_ = slow.Close()
		_ = quick.Close()
		_ = p.conn.Close()
		<-done
	})
}

// TestSlowTarget is the other direction: a stream that the peer doesn't read takes
// most of the session's window, and leaves the others a part.
func TestSlowTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window = 1 << 20 // of the stream; that of the session is smaller by itself
		s, p := begin(t, 0, Options{}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
		var stuck []*Stream
		for range 3 {
			stuck = append(stuck, tunnel(t, s, p))
		}
		quick := tunnel(t, s, p)
		var mu sync.Mutex
		got := map[uint32]int{}
		arrived := func(st *Stream) int {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return got[st.id]
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				frame, err := p.ReadFrame()
				if err != nil {
					return
				}
				if d, ok := frame.(*http2.DataFrame); ok {
					n := len(d.Data())
					mu.Lock()
					got[d.StreamID] += n
					mu.Unlock()
					if d.StreamID == quick.id { // consumed at once
						_ = p.WriteWindowUpdate(0, uint32(n))
						_ = p.WriteWindowUpdate(quick.id, uint32(n))
					}
				}
			}
		}()
		for _, st := range stuck {
			_ = st.SetWriteDeadline(time.Now().Add(time.Second))
			if n, err := st.Write(make([]byte, window)); !errors.Is(err, os.ErrDeadlineExceeded) || n != arrived(st) {
				t.Errorf("%d bytes went to one that is stuck, %d arrived: %v", n, arrived(st), err)
			}
		}
		data := bytes.Repeat([]byte("x"), 2<<20)
		if n, err := quick.Write(data); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		if n := arrived(quick); n != len(data) {
			t.Errorf("%d bytes arrived", n)
		}
		for _, st := range append(stuck, quick) {
			_ = st.Abort()
		}
		_ = p.conn.Close()
		<-done
	})
}

// TestOneStreamMayHaveAll: alone, a stream uses the whole window of the session.
func TestOneStreamMayHaveAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 0, Options{}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		st := tunnel(t, s, p)
		_ = st.SetWriteDeadline(time.Now().Add(time.Second))
		if n, _ := st.Write(make([]byte, 1<<20)); n != baseWindow {
			t.Errorf("sent %d of the session's %d bytes", n, baseWindow)
		}
		_ = st.Close()
	})
}

// TestSettingsMoveWindows: a change of the initial window is one of open streams' too.
func TestSettingsMoveWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 0, Options{}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		st := tunnel(t, s, p)
		wrote := make(chan int, 1)
		go func() {
			n, _ := st.Write(make([]byte, 100))
			wrote <- n
		}()
		p.expect("[FrameHeader DATA stream=1 len=10]")
		must(t, p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5}))
		p.expect("[FrameHeader SETTINGS flags=ACK len=0]")
		must(t, p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 30}))
		p.expect("[FrameHeader SETTINGS flags=ACK len=0]")
		p.expect("[FrameHeader DATA stream=1 len=20]")
		must(t, p.WriteWindowUpdate(1, 100))
		p.expect("[FrameHeader DATA stream=1 len=70]")
		if n := <-wrote; n != 100 {
			t.Errorf("wrote %d", n)
		}
		_ = st.Close()
	})
}
