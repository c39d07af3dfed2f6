package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tap is a TCP conn that notes what came on it, and how that ended.
type tap struct {
	*net.TCPConn

	mu  sync.Mutex
	raw bytes.Buffer
	end string // "" as long as it goes on
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.TCPConn.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.raw.Write(p[:n])
	if err != nil && t.end == "" && !errors.Is(err, net.ErrClosed) {
		t.end = endText(err)
	}
	return n, err
}

func endText(err error) string {
	var timeout net.Error
	switch {
	case err == io.EOF:
		return "FIN"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "RST"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no end"
	}
	return err.Error()
}

// drain reads the raw conn to its end, and tells it.
func (t *tap) drain(limit time.Duration) string {
	_ = t.SetReadDeadline(time.Now().Add(limit))
	_, _ = io.Copy(io.Discard, t)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.end == "" {
		return "FIN" // io.Copy keeps io.EOF to itself; Read has noted all else
	}
	return t.end
}

// sizes tells the TLS records that came, by type and length.
func (t *tap) sizes() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for b := t.raw.Bytes(); len(b) >= 5; {
		n := int(b[3])<<8 | int(b[4])
		all = append(all, fmt.Sprintf("%d:%d", b[0], n))
		b = b[min(5+n, len(b)):]
	}
	return strings.Join(all, " ")
}

// inbox reads a conn to its end.
type inbox struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	last  time.Time
	ended chan struct{}
}

func read(c io.Reader) *inbox {
	in := &inbox{last: time.Now(), ended: make(chan struct{})}
	go func() {
		defer close(in.ended)
		p := make([]byte, 32<<10)
		for {
			n, err := c.Read(p)
			in.mu.Lock()
			in.buf.Write(p[:n])
			in.last = time.Now()
			in.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return in
}

// quiet waits until nothing has come for d, and reports whether the conn goes on.
func (in *inbox) quiet(d time.Duration) bool {
	begun := time.Now()
	for {
		in.mu.Lock()
		last := in.last
		in.mu.Unlock()
		if last.Before(begun) {
			last = begun
		}
		select {
		case <-in.ended:
			return false
		case <-time.After(time.Until(last.Add(d))):
		}
		in.mu.Lock()
		still := !in.last.After(last)
		in.mu.Unlock()
		if still {
			return true
		}
	}
}

// until waits until what has come is enough, the conn has ended, or limit is over.
func (in *inbox) until(limit time.Duration, enough func([]byte) bool) {
	deadline := time.After(limit)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !enough(in.bytes()) {
		select {
		case <-in.ended:
			return
		case <-deadline:
			return
		case <-tick.C:
		}
	}
}

// over reports whether the conn has ended.
func (in *inbox) over() bool {
	select {
	case <-in.ended:
		return true
	default:
		return false
	}
}

func (in *inbox) bytes() []byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	return bytes.Clone(in.buf.Bytes())
}
