package relay

import (
	"os"
	"syscall"
	"time"
)

// lot holds the parked tunnels of a relay, and the directions that rest alone. It is made for the
// first and closed after the last, and with it go the epoll and the goroutine that waits for news.
// All is guarded by the register.
type lot struct {
	epoll  *os.File // which is waited for by the runtime's own epoll
	raw    syscall.RawConn
	fd     int
	places map[uint64]*tunnel
	first  *tunnel // by the time that they were parked, which is that of their limits
	last   *tunnel
	naps   map[uint64]*direction
}

// len returns how many tunnels are in l, which may be nil.
func (l *lot) len() int {
	if l == nil {
		return 0
	}
	return len(l.places)
}

func newLot() (*lot, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	_ = syscall.SetNonblock(fd, true) // so that os waits for it
	l := &lot{epoll: os.NewFile(uintptr(fd), "epoll"), fd: fd, places: make(map[uint64]*tunnel), naps: make(map[uint64]*direction)}
	if l.raw, err = l.epoll.SyscallConn(); err == nil {
		err = l.epoll.SetReadDeadline(time.Time{})
	}
	if err != nil {
		_ = l.epoll.Close()
		return nil, err
	}
	return l, nil
}

// put lets t in. No ticket is used twice.
func (l *lot) put(t *tunnel, ticket uint64) error {
	for i, fd := range t.fds {
		e := event(ticket, i)
		if !t.over[i] {
			e.Events |= syscall.EPOLLIN | syscall.EPOLLRDHUP
		}
		if err := syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_ADD, fd, &e); err != nil {
			if i == 1 {
				_ = syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_DEL, t.fds[0], nil)
			}
			return err
		}
	}
	t.lot, t.ticket = l, ticket
	l.places[ticket] = t
	if t.prev = l.last; t.prev != nil {
		t.prev.next = t
	} else {
		l.first = t
		_ = l.epoll.SetReadDeadline(t.began.Add(t.expires))
	}
	l.last = t
	return nil
}

// event is one for the end of a ticket, which it carries.
func event(ticket uint64, end int) syscall.EpollEvent {
	return syscall.EpollEvent{Events: syscall.EPOLLONESHOT, Fd: int32(ticket), Pad: int32(ticket>>32)<<1 | int32(end)}
}

// ticketOf returns what event put into e.
func ticketOf(e *syscall.EpollEvent) (ticket uint64, end int) {
	return uint64(uint32(e.Fd)) | uint64(uint32(e.Pad)>>1)<<32, int(e.Pad & 1)
}

// open sees to it that there is a lot, and reports whether there is.
func (l *register) open() bool {
	if l.lot == nil {
		made, err := newLot()
		if err != nil {
			return false
		}
		l.lot = made
		go l.watch(made)
	}
	return true
}

// take takes t out of the lot if it is there, and makes it the caller's.
func (l *register) take(t *tunnel) bool {
	if t.lot == nil {
		return false
	}
	for _, fd := range t.fds {
		// A copy would keep an entry alive.
		_ = syscall.EpollCtl(t.lot.fd, syscall.EPOLL_CTL_DEL, fd, nil)
	}
	delete(t.lot.places, t.ticket)
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		t.lot.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		t.lot.last = t.prev
	}
	t.lot, t.next, t.prev = nil, nil, nil
	l.dismiss()
	return true
}

// dismiss closes the lot if nobody is left in it.
func (l *register) dismiss() {
	if l.lot.first == nil && len(l.lot.naps) == 0 {
		_ = l.lot.epoll.Close()
		l.lot = nil
	}
}

// watch takes tunnels out that have news or have idled for too long, until lot is closed.
func (l *register) watch(lot *lot) {
	events := make([]syscall.EpollEvent, 64)
	for {
		n := 0
		err := lot.raw.Read(func(fd uintptr) bool {
			var err error
			n, err = syscall.EpollWait(int(fd), events, 0)
			return n > 0 || err != nil && err != syscall.EINTR
		})
		if err != nil && !isTimeout(err) {
			return
		}
		l.sort(lot, events[:max(n, 0)])
	}
}

// sort takes out whom events are for, and who has idled for too long.
func (l *register) sort(lot *lot, events []syscall.EpollEvent) {
	var due []*tunnel
	var roused []*direction
	l.mu.Lock()
	defer func() {
		l.mu.Unlock()
		for _, d := range roused {
			d.roused()
		}
		for _, t := range due {
			t.cut(ErrIdle)
		}
	}()
	for i := range events {
		ticket, end := ticketOf(&events[i])
		if d := lot.naps[ticket]; d != nil {
			roused = append(roused, d)
		}
		if t := lot.places[ticket]; t != nil {
			l.take(t)
			go t.wake(end)
		}
	}
	for lot.first != nil && time.Since(lot.first.began) >= lot.first.expires {
		due = append(due, lot.first)
		l.take(lot.first)
	}
	switch {
	case lot.first != nil:
		_ = lot.epoll.SetReadDeadline(lot.first.began.Add(lot.first.expires))
	case l.lot == lot:
		_ = lot.epoll.SetReadDeadline(time.Time{})
	}
}
