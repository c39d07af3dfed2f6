package relay

import "net"

// An intake reads the datagrams of a conn, and holds a buffer from one that has come to
// its release; while it waits, too, where the conn does not tell when one has.
type intake struct {
	src    net.Conn
	waiter *waiter // of src, if that is the operating system's
	await  func()  // until src has something to read, or nil
	buf    *[room]byte
}

func newIntake(src net.Conn) *intake {
	i := &intake{src: src, waiter: newWaiter(src)}
	if a, ok := src.(interface{ AwaitRead() }); ok {
		i.await = a.AwaitRead
	}
	return i
}

// read returns the next datagram, which is valid until release.
func (i *intake) read() ([]byte, error) {
	if i.waiter != nil {
		return i.waiter.read()
	}
	if i.await != nil {
		i.await()
	}
	if i.buf == nil {
		i.buf = buffers.Get().(*[room]byte)
	}
	n, err := i.src.Read(i.buf[:])
	if err != nil {
		i.release()
		return nil, err
	}
	return i.buf[:n], nil
}

func (i *intake) release() {
	if i.waiter != nil {
		i.waiter.release()
	}
	if i.buf != nil {
		buffers.Put(i.buf)
		i.buf = nil
	}
}
