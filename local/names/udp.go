package names

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/miekg/dns"
)

// firstWait is for how long an answer by UDP is waited for before the question is sent again,
// twice as long each time (RFC 1035 §7.2).
const firstWait = time.Second

// datagrams asks by plain DNS (RFC 1035): by UDP, and by TCP where an answer is cut short. Each
// question has a socket of its own, and so a port that is hard to guess (RFC 5452 §9.2).
type datagrams struct {
	addr string
	dial dialer
	tcp  *stream
}

func (d *datagrams) ask(ctx context.Context, k key) (*answer, error) {
	for wait := firstWait; ; wait *= 2 {
		m, err := d.exchange(ctx, k, wait)
		switch {
		case err == nil && m.Truncated:
			return d.tcp.ask(ctx, k)
		case err == nil:
			return answerOf(m, false, 0), nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		}
	}
}

// exchange sends the question once, and returns what answers it in time. All else that comes is
// not heard.
func (d *datagrams) exchange(ctx context.Context, k key, wait time.Duration) (*dns.Msg, error) {
	id := uint16(rand.Uint32()) //nolint:gosec // seeded by the system, and as good
	query, err := k.query(id, false)
	if err != nil {
		return nil, err
	}
	conn, err := d.dial(ctx, "udp", d.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // of datagrams
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	_ = conn.SetDeadline(time.Now().Add(wait))
	if ctx.Err() != nil { // its end may have come before the deadline was set
		return nil, ctx.Err()
	}
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	return hear(conn, id, k)
}

func hear(conn net.Conn, id uint16, k key) (*dns.Msg, error) {
	buf := make([]byte, largestQuery)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		m := new(dns.Msg)
		if err := m.Unpack(buf[:n]); err != nil && !m.Truncated || m.Id != id {
			continue
		}
		whole := *m
		whole.Truncated = false
		if k.answers(&whole) {
			return m, nil
		}
	}
}

func (d *datagrams) close() { d.tcp.close() }
