package ssh

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/byway-proxy/byway/internal/stream"
)

// errStale is the error of a tunnel that the connection was too dead to ask for.
var errStale = errors.New("the connection to the server has ended")

// unanswered is how many keep-alives may be left without an answer.
const unanswered = 3

// link is one connection to a server.
type link struct {
	conn ssh.Conn
	raw  *watched
	o    *Options
	dead chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	tunnels int
	retired bool // takes no more tunnels, and ends with the last
	idle    *time.Timer
	next    *probe // for which the server has not been asked yet
	probing bool
}

func newLink(conn ssh.Conn, raw *watched, o *Options) *link {
	l := &link{conn: conn, raw: raw, o: o, dead: make(chan struct{})}
	l.idle = time.AfterFunc(o.IdleLimit, l.expire)
	go func() {
		_ = conn.Wait()
		l.mu.Lock()
		l.retired = true
		l.idle.Stop()
		l.mu.Unlock()
		close(l.dead)
	}()
	return l
}

// acquire counts one more tunnel, unless the link takes none.
func (l *link) acquire() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired {
		return false
	}
	l.tunnels++
	l.idle.Stop()
	return true
}

func (l *link) release() {
	l.mu.Lock()
	l.tunnels--
	last := l.tunnels == 0
	retired := l.retired
	if last && !retired {
		l.idle.Reset(l.o.IdleLimit)
	}
	l.mu.Unlock()
	if last && retired {
		go l.part()
	}
}

// expire ends a link without tunnels.
func (l *link) expire() {
	l.mu.Lock()
	over := l.tunnels == 0
	l.retired = l.retired || over
	l.mu.Unlock()
	if over {
		_ = l.conn.Close()
	}
}

// retire has the link end with its last tunnel.
func (l *link) retire() {
	l.mu.Lock()
	l.retired = true
	l.idle.Stop()
	over := l.tunnels == 0
	l.mu.Unlock()
	if over {
		go l.part()
	}
}

// part ends the connection once the server has taken all that was sent: a reset by
// what it sends meanwhile could overtake that.
func (l *link) part() {
	l.alive()
	_ = l.conn.Close()
}

// watch ends the link when the server is silent for too long.
func (l *link) watch() {
	tick := time.NewTicker(l.o.KeepAlive)
	defer tick.Stop()
	var seen int64
	for asked := 0; ; {
		select {
		case <-l.dead:
			return
		case <-tick.C:
		}
		if n := l.raw.received.Load(); n != seen {
			seen, asked = n, 0
			continue
		}
		if asked == unanswered {
			_ = l.conn.Close()
			return
		}
		asked++
		l.probe()
	}
}

// A probe is a question for a sign of life.
type probe struct {
	done chan struct{}
	err  error
}

// probe asks the server for a sign of life later than now. All that ask at a time
// share one question.
func (l *link) probe() *probe {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil {
		l.next = &probe{done: make(chan struct{})}
		if !l.probing {
			l.probing = true
			go l.ask()
		}
	}
	return l.next
}

func (l *link) ask() {
	for {
		l.mu.Lock()
		p := l.next
		l.next = nil
		l.probing = p != nil
		l.mu.Unlock()
		if p == nil {
			return
		}
		_, _, p.err = l.conn.SendRequest("keepalive@openssh.com", true, nil)
		close(p.done)
	}
}

// alive reports whether the connection is one still: a tunnel of one that dies ends
// as if its peer had ended it.
func (l *link) alive() bool {
	p := l.probe()
	patience := time.NewTimer(l.o.KeepAlive)
	defer patience.Stop()
	select {
	case <-p.done:
		return p.err == nil
	case <-l.dead:
		return false
	case <-patience.C:
		return true // a server that leaves requests unanswered
	}
}

// opened is the outcome of asking for a tunnel.
type opened struct {
	channel ssh.Channel
	reqs    <-chan *ssh.Request
	err     error
}

// open opens a tunnel for which l was acquired.
func (l *link) open(ctx context.Context, to target) (net.Conn, error) {
	got, left := make(chan opened), make(chan struct{})
	before := l.raw.received.Load()
	go l.request(to, got, left)
	limit := time.NewTimer(l.o.OpenLimit)
	defer limit.Stop()
	var err error
	select {
	case o := <-got:
		return l.take(o)
	case <-l.dead:
		err = errStale
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-limit.C:
		err = os.ErrDeadlineExceeded
		if l.raw.received.Load() == before {
			l.retire() // it may be dead: others had better not wait for it
		}
	}
	close(left)
	return nil, err
}

// request asks for a tunnel, and closes it if nobody waits for it by then.
//
// OpenChannel never returns if it begins in the moment between the end of the
// connection's channels and that of the connection, and keeps the goroutine. A
// conn that is known to be broken is therefore not asked.
func (l *link) request(to target, got chan<- opened, left <-chan struct{}) {
	o := opened{err: errStale}
	if !l.raw.broken.Load() {
		o.channel, o.reqs, o.err = l.conn.OpenChannel("direct-tcpip", to.request())
	}
	select {
	case got <- o:
	case <-left:
		if conn, err := l.take(o); err == nil {
			_ = conn.Close()
		}
	}
}

// take makes a conn of what OpenChannel returned.
func (l *link) take(o opened) (net.Conn, error) {
	if o.err == nil {
		go ssh.DiscardRequests(o.reqs)
		return stream.NewConn(&tunnel{Channel: o.channel, l: l}, l.raw.LocalAddr(), l.raw.RemoteAddr()), nil
	}
	var refused *ssh.OpenChannelError
	if !errors.As(o.err, &refused) {
		l.retire()
		l.release()
		return nil, errStale
	}
	l.release()
	return nil, refusalOf(refused)
}
