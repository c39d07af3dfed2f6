package chain

import (
	"io"
	"net"
)

// A CloseWriter can end its sending direction and go on reading: a FIN of TCP,
// close_notify of TLS, END_STREAM of HTTP/2. Every conn from a chain is one.
type CloseWriter interface{ CloseWrite() error }

// CloseWrite ends c's sending direction if c can do that, and closes it
// otherwise: the peer must learn that nothing more comes.
func CloseWrite(c net.Conn) error {
	if cw, ok := c.(CloseWriter); ok {
		return cw.CloseWrite()
	}
	return c.Close()
}

// An Aborter can end at once with an error for its peer, as TCP's RST.
type Aborter interface{ Abort() error }

// Abort closes c so that the peer does not take it for an orderly end: what it
// received may be incomplete.
func Abort(c net.Conn) error {
	switch a := c.(type) {
	case Aborter:
		return a.Abort()
	case interface{ SetLinger(sec int) error }:
		_ = a.SetLinger(0)
	case interface{ NetConn() net.Conn }:
		// Without close_notify from our side, the peer of a TLS conn sees a
		// truncation, whichever way the conn below ends.
		return Abort(a.NetConn())
	}
	return c.Close()
}

// Unread returns a conn that reads as c with the bytes of ahead before it; with
// none, that is c itself. It owns ahead and c from now on. [Raw] takes it apart.
func Unread(c net.Conn, ahead []byte) net.Conn {
	if len(ahead) == 0 {
		return c
	}
	if u, ok := c.(*unread); ok {
		ahead = append(append(make([]byte, 0, len(ahead)+len(u.ahead)), ahead...), u.ahead...)
		return &unread{Conn: u.Conn, ahead: ahead, from: u.from}
	}
	return &unread{Conn: c, ahead: ahead}
}

// From returns a conn that is c with from for its remote address: where the client
// is, as told by who handed the conn on. It owns c from now on. [Raw] takes it apart.
func From(c net.Conn, from net.Addr) net.Conn {
	if u, ok := c.(*unread); ok {
		return &unread{Conn: u.Conn, ahead: u.ahead, from: from}
	}
	return &unread{Conn: c, from: from}
}

// Raw returns the bytes that were put before c by [Unread] and not yet read,
// and the conn below, or nothing and c itself. The caller uses what is returned
// in place of c. What [From] said is lost: ask for the remote address before.
func Raw(c net.Conn) (ahead []byte, raw net.Conn) {
	u, ok := c.(*unread)
	if !ok {
		return nil, c
	}
	ahead, u.ahead = u.ahead, nil
	return ahead, u.Conn
}

type unread struct {
	net.Conn
	ahead []byte
	from  net.Addr // nil: that of Conn
}

func (u *unread) RemoteAddr() net.Addr {
	if u.from != nil {
		return u.from
	}
	return u.Conn.RemoteAddr()
}

func (u *unread) Read(p []byte) (int, error) {
	if len(u.ahead) == 0 {
		return u.Conn.Read(p)
	}
	n := copy(p, u.ahead)
	u.ahead = u.ahead[n:]
	return n, nil
}

func (u *unread) WriteTo(w io.Writer) (int64, error) {
	var done int64
	if len(u.ahead) > 0 {
		n, err := w.Write(u.ahead)
		u.ahead = u.ahead[n:]
		done = int64(n)
		if err != nil {
			return done, err
		}
	}
	n, err := io.Copy(w, u.Conn)
	return done + n, err
}

func (u *unread) CloseWrite() error { return CloseWrite(u.Conn) }
func (u *unread) Abort() error      { return Abort(u.Conn) }
func (u *unread) NetConn() net.Conn { return u.Conn }
