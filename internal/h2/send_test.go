package h2

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/byway-proxy/byway/internal/testnet"
)

// TestFramesGrow: what is written to a stream while it waits to be sent is one frame, as far as the peer takes
// one, unless another frame stands in between.
func TestFramesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 0, Options{}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 20000})
		one, other := tunnel(t, s, p), tunnel(t, s, p)
		synctest.Wait()
		s.mu.Lock()
		var want [2]bytes.Buffer
		for i, n := range []int{100, 200, 19700, 1, 50, -60, 70, -80, -90} {
			st, w := one, &want[0]
			if n < 0 {
				st, w, n = other, &want[1], -n
			}
			b := bytes.Repeat([]byte{byte(i)}, n)
			if k := s.put(st, b); k != n {
				t.Fatalf("%d of %d bytes", k, n)
			}
			_, _ = w.Write(b)
		}
		s.work.Signal()
		s.mu.Unlock()
		var got [2]bytes.Buffer
		for _, head := range []string{
			"[FrameHeader DATA stream=1 len=20000]", "[FrameHeader DATA stream=1 len=51]", "[FrameHeader DATA stream=3 len=60]",
			"[FrameHeader DATA stream=1 len=70]", "[FrameHeader DATA stream=3 len=170]",
		} {
			f := p.expect(head).(*http2.DataFrame)
			_, _ = got[f.StreamID/2].Write(f.Data())
		}
		for i := range want {
			if !bytes.Equal(got[i].Bytes(), want[i].Bytes()) {
				t.Errorf("stream %d: other bytes came", i)
			}
		}
	})
}

// slow is a conn that takes its time for each write.
type slow struct {
	net.Conn

	mu    sync.Mutex
	takes time.Duration
}

func (s *slow) take(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes = d
}

func (s *slow) Write(p []byte) (int, error) {
	s.mu.Lock()
	takes := s.takes
	s.mu.Unlock()
	time.Sleep(takes)
	return s.Conn.Write(p)
}

// TestPending: more waits for a conn that takes it at once than for one that does not, where each byte of it
// holds up the other streams.
func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := testnet.Pipe(0)
		conn := &slow{Conn: near}
		s, p := beginOn(t, conn, far, Options{}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		must(t, p.WriteWindowUpdate(0, 1<<30))
		st := tunnel(t, s, p)
		go func() { // the peer takes all
			for {
				if _, err := p.ReadFrame(); err != nil {
					return
				}
			}
		}()
		// fill has as much wait as may, and returns how much that is when all of it is written.
		fill := func() (n int) {
			s.mu.Lock()
			for k := piece; k == piece; n += k {
				k = s.put(st, make([]byte, piece))
			}
			s.work.Signal()
			s.mu.Unlock()
			time.Sleep(3 * time.Second)
			return n
		}
		if n := fill(); n > pending {
			t.Errorf("%d bytes waited before anything was known", n)
		}
		for _, test := range []struct {
			takes       time.Duration
			least, most int
		}{
			{quick - 1, maxPending - piece, maxPending},
			{quick, pending - piece, pending},
			{0, maxPending - piece, maxPending},
			{time.Second, pending - piece, pending},
		} {
			conn.take(test.takes)
			fill()
			if n := fill(); n < test.least || n > test.most {
				t.Errorf("%v for a batch: %d bytes waited", test.takes, n)
			}
		}
	})
}
