package gauge

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/internal/testnet"
)

// TestGauge measures links of which the rate is known.
func TestGauge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, measure := range map[string]func(context.Context, net.Conn, time.Duration) (float64, error){"down": Down, "up": Up} {
			n := testnet.New()
			l, err := n.Host("egress").Listen(":9")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				c, err := l.Accept()
				if err == nil {
					Answer(&slow{Conn: c, every: 10 * time.Millisecond})
				}
			}()
			c, err := n.Host("client").DialContext(t.Context(), "tcp", "egress:9")
			if err != nil {
				t.Fatal(err)
			}
			got, err := measure(t.Context(), c, 5*time.Second)
			if want := float64(piece * 100); err != nil || got < 0.9*want || got > 1.1*want {
				t.Errorf("%s: %.0f bytes a second, %v; want %.0f", name, got, err, want)
			}
			_ = c.Close()
			_ = l.Close()
			time.Sleep(2 * limit)
		}
	})
}

// slow moves a piece every so often.
type slow struct {
	net.Conn
	every time.Duration
	begun bool
}

func (s *slow) Read(b []byte) (int, error) {
	if s.begun {
		time.Sleep(s.every)
		n, err := io.ReadFull(s.Conn, b)
		if err == io.ErrUnexpectedEOF {
			err = nil
		}
		return n, err
	}
	s.begun = true
	return s.Conn.Read(b)
}

func (s *slow) Write(b []byte) (int, error) {
	time.Sleep(s.every)
	return s.Conn.Write(b)
}

// TestNobodyAsks: who says nothing, or nonsense, is gone at the limit.
func TestNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for say, want := range map[string]time.Duration{"": limit, "x": 0} {
			near, far := net.Pipe()
			began := time.Now()
			go func() { _, _ = io.WriteString(near, say) }()
			Answer(far)
			if took := time.Since(began); took != want {
				t.Errorf("%q: gone after %v, not %v", say, took, want)
			}
			_ = near.Close()
		}
	})
}
