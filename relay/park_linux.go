package relay

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// starved is the pause before a tunnel that has news is tried again when there is
// no descriptor for it.
const starved = 100 * time.Millisecond

// place is where a tunnel is parked. The tunnel is parked if lot is not nil.
type place struct {
	lot        *lot
	ticket     uint64 // of this stay: news that come late are for nobody else
	fds        [2]int
	over       [2]bool       // which directions, up and down, have ended
	expires    time.Duration // since the tunnel began
	next, prev *tunnel
}

func parkable(c net.Conn) bool { return isTCP(c) }

// park parks t, of whose pair no direction is running. If it reports true, t is
// no longer the caller's. Otherwise nothing has changed.
func (t *tunnel) park(p *pair) bool {
	fds, err := dupBoth(p.ends)
	if err != nil {
		return false
	}
	if !t.relay.live.park(t, p, fds) {
		closeBoth(fds)
		return false
	}
	_ = p.ends[0].Close() // the copies keep the connections
	_ = p.ends[1].Close()
	return true
}

func (l *register) park(t *tunnel, p *pair, fds [2]int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.killed {
		return false
	}
	if !l.open() {
		return false
	}
	t.place = place{
		fds:     fds,
		over:    [2]bool{p.ways[0].state == ended, p.ways[1].state == ended},
		expires: p.began.Sub(t.began) + p.moved + p.idle,
	}
	l.ticket++
	if err := l.lot.put(t, l.ticket); err != nil {
		l.dismiss()
		return false
	}
	t.add(p)
	t.ends = [2]net.Conn{}
	l.note()
	return true
}

// wake carries t on, which was taken out of the lot since its end has news.
func (t *tunnel) wake(end int) {
	if t.over[end] { // there is nothing more to read: the end is broken
		errno, err := syscall.GetsockoptInt(t.fds[end], syscall.SOL_SOCKET, syscall.SO_ERROR)
		if err != nil || errno == 0 {
			errno = int(syscall.ECONNRESET)
		}
		t.cut(syscall.Errno(errno))
		return
	}
	var conns [2]net.Conn
	var failed error
	for i, fd := range t.fds {
		c, err := t.conn(fd)
		if err != nil {
			failed = err
			continue
		}
		conns[i] = c
		_ = t.relay.live.attach(t, c) // if t was killed, the pair will find c closed
	}
	if failed != nil {
		for _, c := range conns {
			if c != nil {
				_ = chain.Abort(c)
			}
		}
		t.err = failed
		t.close()
		return
	}
	p := t.pair(conns[0], conns[1])
	for i, over := range t.over {
		if over {
			p.ways[i].state = ended
		}
	}
	_ = t.follow(p)
}

// conn makes a conn of fd, which it owns. It waits if there is no descriptor to do so.
func (t *tunnel) conn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "")
	defer func() { _ = f.Close() }() // net has a copy
	for {
		c, err := net.FileConn(f)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) || t.relay.live.isKilled(t) {
			reset(fd)
			return nil, err
		}
		time.Sleep(starved)
	}
}

// cut ends t, which was taken out of the lot, as chain.Abort would.
func (t *tunnel) cut(err error) {
	reset(t.fds[0])
	reset(t.fds[1])
	closeBoth(t.fds)
	t.err = err
	t.close()
}

// reset makes of a close an abort.
func reset(fd int) {
	_ = syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
}

func dupBoth(conns [2]net.Conn) (fds [2]int, err error) {
	for i, c := range conns {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err == nil {
			e := raw.Control(func(fd uintptr) { fds[i], err = dup(int(fd)) })
			err = errors.Join(e, err)
		}
		if err != nil {
			if i == 1 {
				_ = syscall.Close(fds[0])
			}
			return fds, err
		}
	}
	return fds, nil
}

func dup(fd int) (int, error) {
	own, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(own), nil
}

func closeBoth(fds [2]int) {
	_ = syscall.Close(fds[0])
	_ = syscall.Close(fds[1])
}
