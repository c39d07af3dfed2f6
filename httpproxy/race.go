package httpproxy

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// HTTP3 is another way for the tunnels of an https hop: sessions of HTTP/3 with the same
// proxy, at the same address, of one identity.
type HTTP3 interface {
	chain.Dialer // tunnels and flows on them

	// Ready waits for a session, and opens one if there is none. It asks the proxy for nothing.
	Ready(ctx context.Context) error

	// Close closes the sessions that no tunnel needs, and the others with their last.
	Close() error
}

const (
	// fallback is how long a tunnel waits for HTTP/3 where that is expected to come.
	fallback = 300 * time.Millisecond

	// shortPath is by how much HTTP/3 must be ahead to be preferred. It is, by a round trip,
	// so that on short paths HTTP/2 is, which costs both ends less.
	shortPath = 10 * time.Millisecond

	// forget is after what time HTTP/3 is tried again, where it did not come or was not preferred.
	forget = 10 * time.Minute
)

// A winner is how the last race of a hop ended, for all identities.
type winner struct {
	mu    sync.Mutex
	three bool
	lost  time.Time // when HTTP/3 last lost; zero if it did not
}

// expected reports whether HTTP/3 won, or else whether it is time for a race.
func (w *winner) expected() (three, race bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.three, !w.three && (w.lost.IsZero() || time.Since(w.lost) > forget)
}

func (w *winner) note(three bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.three = three
	if w.lost = time.Now(); three {
		w.lost = time.Time{}
	}
}

// byThree reports whether a tunnel should go by HTTP/3. conn, if not nil, is one to a proxy that has
// HTTP/1.1 only, ready for it. The error is that of both.
func (h *tlsHop) byThree(ctx context.Context) (three bool, conn net.Conn, err error) {
	if h.three == nil {
		return false, nil, nil
	}
	expected, race := h.winner.expected()
	switch {
	case expected:
		return h.ready(ctx), nil, nil
	case !race || h.pool.open() || !chain.Carries(h.next, "udp"):
		return false, nil, nil
	}
	return h.race(ctx)
}

// ready waits for a session of HTTP/3, for [fallback] at most, and notes it if that is in vain.
func (h *tlsHop) ready(ctx context.Context) bool {
	limit, cancel := context.WithTimeout(ctx, fallback)
	defer cancel()
	err := h.three.Ready(limit)
	if err != nil && ctx.Err() == nil {
		h.winner.note(false)
	}
	return err == nil
}

// race opens a session of each kind at once, and notes which won.
func (h *tlsHop) race(ctx context.Context) (three bool, conn net.Conn, err error) {
	type end struct {
		conn net.Conn
		err  error
	}
	ctx2, cancel2 := context.WithCancel(ctx)
	ctx3, cancel3 := context.WithTimeout(ctx, h.o.DialLimit+h.o.HandshakeLimit)
	end2, end3 := make(chan end, 1), make(chan error, 1)
	go func() {
		conn, err := h.join(ctx2)
		end2 <- end{conn, err}
	}()
	go func() { end3 <- h.three.Ready(ctx3) }()
	won := func(two end) (bool, net.Conn, error) {
		cancel3()
		cancel2()
		h.winner.note(false)
		return false, two.conn, nil
	}
	var failed error
	select {
	case two := <-end2:
		if two.err == nil {
			return won(two)
		}
		failed = two.err
	case err := <-end3:
		end3 <- err
	}
	if failed == nil { // HTTP/3 has ended first
		err := <-end3
		end3 <- err
		wait := time.NewTimer(shortPath)
		defer wait.Stop()
		if err != nil {
			wait.Stop() // it waits for HTTP/2 alone
		}
		select {
		case two := <-end2:
			if two.err == nil {
				return won(two)
			}
			failed = two.err
		case <-wait.C:
			cancel2()
			go func() {
				if two := <-end2; two.conn != nil {
					_ = two.conn.Close()
				}
			}()
			cancel3()
			h.winner.note(true)
			return true, nil, nil
		}
	}
	defer cancel2()
	defer cancel3()
	if err := <-end3; err != nil {
		return false, nil, failed
	}
	h.winner.note(true)
	return true, nil, nil
}
