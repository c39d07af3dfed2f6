package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	socks5 "github.com/armon/go-socks5"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// A Server speaks SOCKS4, 4a and 5 to clients. It is safe for concurrent use;
// its fields must not change once it serves.
type Server struct {
	// Relay carries the requests. It is required.
	Relay *relay.Relay

	// Users knows who may use the server. If it is set, RFC 1929 is required of
	// every client, and SOCKS4, which cannot authenticate, is refused. If it is
	// nil, nobody is asked. A client that gives user and password nonetheless is taken
	// at its word if Request isolates by user: they make its Label, and prove nothing.
	Users socks5.CredentialStore

	// Limit bounds greeting, authentication and request together, and again the
	// answer; 0 means 10 s.
	Limit time.Duration

	// Flows bounds the flows of UDP ASSOCIATE; several servers may share it.
	Flows *Flows

	// ListenPacket opens the socket of an association at a free port of host, an
	// address of this machine; nil means the system's.
	ListenPacket func(ctx context.Context, host string) (PacketSocket, error)

	// Request is what each request begins as: its Listener, and all else that is
	// the listener's to say.
	Request relay.Request
}

// defaultLimit is also the time that RFC 1928 §6 leaves to close after a failure.
const defaultLimit = 10 * time.Second

var (
	errNotSOCKS   = errors.New("socks: not SOCKS")
	errVersion    = errors.New("socks: wrong version amid the handshake")
	errTarget     = errors.New("socks: target refused")
	errCommand    = errors.New("socks: command not supported")
	errNoPassword = errors.New("socks: SOCKS4 has no password, which is required")
)

func (s *Server) limit() time.Duration {
	if s.Limit > 0 {
		return s.Limit
	}
	return defaultLimit
}

// ServeConn serves the client of conn as [relay.Relay.Serve] does, to the end or until the
// relay has parked the tunnel, and owns conn. Clients that do not
// come as far as a request are reported to BadClient of the Relay's Trace.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) error {
	if s.Relay == nil {
		_ = conn.Close()
		return errors.New("socks: the server has no relay")
	}
	p, err := s.handshake(ctx, conn, true)
	if err != nil {
		if ctx.Err() == nil {
			s.Relay.Trace.Bad(s.Request.Listener, err)
		}
		return err
	}
	return s.serve(ctx, p)
}

// Handshake reads a CONNECT from conn, which it owns from now on, and refuses
// the other commands, which have no one tunnel; conn may be one of [chain.Unread]. If there is an error, the client has been told as far
// as the protocol has words for it, and conn is closed. Errors name neither
// target nor user; they wrap socks5.UserAuthFailed or socks5.NoSupportedAuth
// where that is the matter.
func (s *Server) Handshake(ctx context.Context, conn net.Conn) (relay.Pending, error) {
	p, err := s.handshake(ctx, conn, false)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// handshake is Handshake, with or without all commands.
func (s *Server) handshake(ctx context.Context, conn net.Conn, all bool) (*pending, error) {
	ends := time.Now().Add(s.limit())
	ahead, raw := chain.Raw(conn)
	x := newExchange(raw, ahead)
	defer x.release()
	p := &pending{conn: raw, limit: s.limit(), command: commandConnect, all: all}
	p.request = s.Request
	p.request.Network, p.request.Client = "tcp", conn.RemoteAddr()
	err := chain.Handshake(ctx, raw, s.limit(), func() error {
		err := s.read(x, p)
		if said := x.flush(); err == nil {
			err = said
		}
		return err
	})
	switch {
	case err == nil:
		p.ahead = x.rest()
		p.conn = chain.Unread(raw, p.ahead)
		return p, nil
	case x.said && x.err == nil:
		hangUp(ctx, raw, time.Until(ends))
	default:
		_ = raw.Close()
	}
	return nil, err
}

// read reads up to the end of the request. With an error, the refusal stands in
// x, to be flushed.
func (s *Server) read(x *exchange, p *pending) error {
	first, err := x.peek(1)
	if err != nil {
		return fmt.Errorf("socks: waiting for a client to speak: %w", err)
	}
	switch p.version = first[0]; {
	case p.version == version5:
		return s.read5(x, p)
	case p.version == version4 && s.Users != nil:
		x.out = rejected4.appendReply(x.out)
		return errNoPassword
	case p.version == version4:
		return read4(x, &p.request)
	}
	return errNotSOCKS
}

// pending is a request that was read and waits for its answer.
type pending struct {
	conn    net.Conn
	ahead   []byte // what conn yields first
	request relay.Request
	version byte
	command byte
	port    uint16 // of other commands than CONNECT, and may be 0
	all     bool   // commands are served, not CONNECT alone
	limit   time.Duration
}

func (p *pending) Request() relay.Request { return p.request }

// Ahead returns what the client said behind the request, without an answer.
func (p *pending) Ahead() []byte { return p.ahead }

// Accept answers with success and returns the client's conn.
func (p *pending) Accept() (net.Conn, error) {
	if err := p.answer(succeeded, granted4); err != nil {
		_ = p.conn.Close()
		return nil, err
	}
	return p.conn, nil
}

// Reject answers with the code for err, and closes when the client had the time
// to read it.
func (p *pending) Reject(err error) error {
	_, raw := chain.Raw(p.conn)
	said := p.answer(replyFor(err), rejected4)
	if said != nil {
		_ = raw.Close()
		return said
	}
	hangUp(context.Background(), raw, p.limit)
	return nil
}

func (p *pending) answer(code ReplyCode, code4 ReplyCode4) error {
	var room [16]byte
	reply := room[:0]
	if p.version == version4 {
		reply = code4.appendReply(reply)
	} else {
		reply = code.appendReply(reply)
	}
	return p.say(reply)
}

// say sends the client a reply.
func (p *pending) say(reply []byte) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(p.limit)); err != nil {
		return err
	}
	if _, err := p.conn.Write(reply); err != nil {
		return fmt.Errorf("socks: answering: %w", err)
	}
	return p.conn.SetWriteDeadline(time.Time{})
}
