package relay

import (
	"net"
	"syscall"
)

// nap is pair.nap. The descriptor stays the conn's; with it goes its entry in the epoll, which is
// made once and armed for each nap. What comes when d was roused otherwise finds it running.
func (l *register) nap(d *direction) bool {
	raw, err := d.src.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open() {
		return false
	}
	op := syscall.EPOLL_CTL_MOD
	if d.ticket == 0 {
		l.ticket++
		d.ticket = l.ticket
		l.lot.naps[d.ticket] = d
		op = syscall.EPOLL_CTL_ADD
	}
	e := event(d.ticket, 0)
	e.Events |= syscall.EPOLLIN | syscall.EPOLLRDHUP
	failed := raw.Control(func(fd uintptr) { err = syscall.EpollCtl(l.lot.fd, op, int(fd), &e) })
	if failed == nil && err == nil {
		if op == syscall.EPOLL_CTL_ADD {
			l.note()
		}
		return true
	}
	l.drop(d)
	return false
}

// forget is for a pair that has ended: none of its directions has news any more.
func (l *register) forget(p *pair) {
	if p.ways[0].ticket+p.ways[1].ticket == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range p.ways {
		l.drop(&p.ways[i])
	}
}

func (l *register) drop(d *direction) {
	if d.ticket == 0 || l.lot == nil {
		return
	}
	delete(l.lot.naps, d.ticket)
	d.ticket = 0
	l.dismiss()
}
