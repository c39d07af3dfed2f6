package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// ErrIdle is the error of a tunnel in which no byte moved for the idle limit.
var ErrIdle = errors.New("idle for too long")

const (
	bufferSize = 32 << 10

	// bulk is how many bytes a direction moves through user space before it is
	// spliced: a pipe costs more than a short exchange.
	bulk = 256 << 10

	// slice is the longest time that a direction is spliced before it tells that
	// bytes moved, or gives the pipe back since none did.
	slice = time.Second

	// linger is how often a direction that only drains looks whether the other has
	// ended, and how long it goes on after that.
	linger = time.Second

	// drained is how many bytes it drops at most.
	drained = 1 << 20
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Copy carries bytes between client and target until both directions have
// ended, then closes both. An EOF from one end becomes a CloseWrite on the other,
// and the other direction runs on. A failure to read ends both at once by
// [chain.Abort], so that neither peer takes it for an orderly end. After a failure
// to write, what the failing end still has to say is delivered. idle, which must
// be positive, limits the time in which no byte moves in either direction.
//
// up counts the bytes from client to target, down those back. Where both ends are
// TCP conns of the operating system, bulk does not pass through user space
// (Linux).
func Copy(client, target net.Conn, idle time.Duration) (up, down int64, err error) {
	fromClient, client := chain.Raw(client)
	fromTarget, target := chain.Raw(target)
	p := &pair{idle: idle, began: time.Now(), ends: [2]net.Conn{client, target}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		up = p.oneWay(target, client, fromClient)
	}()
	down = p.oneWay(client, target, fromTarget)
	<-done
	_ = client.Close()
	_ = target.Close()
	return up, down, p.err
}

// pair is what the two directions of a tunnel share.
type pair struct {
	idle     time.Duration
	began    time.Time
	moved    atomic.Int64 // when a byte last moved, since began
	splicing atomic.Int32 // directions that tell so once a slice only
	ended    atomic.Int32 // directions that have ended
	ends     [2]net.Conn

	once sync.Once
	err  error // the first failure; read when both directions have ended
}

func (p *pair) note(err error) { p.once.Do(func() { p.err = err }) }

// abort ends both directions.
func (p *pair) abort(err error) {
	p.note(err)
	for _, c := range p.ends {
		_ = chain.Abort(c)
	}
}

func (p *pair) touch() { p.moved.Store(int64(time.Since(p.began))) }

// idleAt is when the tunnel has idled for too long, if no further byte moves.
func (p *pair) idleAt() time.Time {
	limit := time.Duration(p.moved.Load()) + p.idle
	if p.splicing.Load() > 0 {
		limit += p.slice()
	}
	return p.began.Add(limit)
}

func (p *pair) slice() time.Duration { return min(slice, p.idle/4) }

// oneWay moves ahead, then all that src yields, to dst, and returns the number of bytes.
func (p *pair) oneWay(dst, src net.Conn, ahead []byte) (total int64) {
	defer p.ended.Add(1)
	f := &flow{pair: p, dst: dst, src: src}
	if len(ahead) > 0 {
		_ = dst.SetWriteDeadline(time.Now().Add(p.idle))
		n, err := dst.Write(ahead)
		total += int64(n)
		p.touch()
		if err != nil {
			f.drain(err)
			return total
		}
	}
	for {
		n, rerr, werr := f.step()
		total += n
		switch {
		case isTimeout(werr):
			p.abort(ErrIdle) // the peer stopped reading long ago
			return total
		case werr != nil:
			f.drain(werr)
			return total
		case rerr == io.EOF:
			_ = chain.CloseWrite(dst) // if that fails, the other direction tells
			return total
		case rerr != nil && !isTimeout(rerr):
			p.abort(rerr)
			return total
		case rerr != nil && !time.Now().Before(p.idleAt()):
			p.abort(ErrIdle)
			return total
		}
	}
}

// flow is one direction of a pair.
type flow struct {
	*pair
	dst, src net.Conn
	run      int64 // bytes moved since the last pause
}

// step moves bytes until there is news: an end, a failure, or a deadline.
func (f *flow) step() (n int64, rerr, werr error) {
	if f.run >= bulk {
		if dst, src, ok := f.spliceable(); ok {
			return f.splice(dst, src)
		}
		f.run = 0
	}
	deadline := f.idleAt()
	_ = f.src.SetReadDeadline(deadline)
	_ = f.dst.SetWriteDeadline(deadline.Add(f.idle))
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for f.run < bulk {
		r, err := f.src.Read(buf[:])
		if r > 0 {
			w, err := f.dst.Write(buf[:r])
			n += int64(w)
			f.run += int64(w)
			f.touch()
			if err != nil {
				return n, nil, err
			}
		}
		if err != nil {
			f.run = 0
			return n, err, nil
		}
	}
	return n, nil, nil
}

func (f *flow) spliceable() (dst, src *net.TCPConn, ok bool) {
	if runtime.GOOS != "linux" {
		return nil, nil, false
	}
	dst, ok1 := f.dst.(*net.TCPConn)
	src, ok2 := f.src.(*net.TCPConn)
	return dst, src, ok1 && ok2
}

// splice lets the kernel move bytes for one slice.
func (f *flow) splice(dst, src *net.TCPConn) (n int64, rerr, werr error) {
	f.splicing.Add(1)
	defer f.splicing.Add(-1)
	now := time.Now()
	_ = src.SetReadDeadline(now.Add(f.slice()))
	_ = dst.SetWriteDeadline(now.Add(f.slice() + f.idle))
	n, err := dst.ReadFrom(src)
	if n > 0 {
		f.touch()
	} else {
		f.run = 0
	}
	switch {
	case err == nil:
		return n, io.EOF, nil
	case isTimeout(err) && time.Since(now) >= f.slice()+f.idle:
		return n, nil, err
	default:
		return n, err, nil
	}
}

// drain reads and drops some of what src still sends after dst failed with err,
// while the other direction delivers what dst had to say, and for a while after
// that: to close with bytes unread would destroy those on their way to src.
func (f *flow) drain(err error) {
	f.note(err)
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	var end time.Time
	for left := drained; left > 0; {
		now := time.Now()
		if end.IsZero() && f.ended.Load() > 0 {
			end = now.Add(linger)
		}
		if !end.IsZero() && now.After(end) || now.After(f.idleAt()) {
			return
		}
		_ = f.src.SetReadDeadline(now.Add(linger))
		n, err := f.src.Read(buf[:])
		left -= n
		if err != nil && !isTimeout(err) {
			return
		}
	}
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
