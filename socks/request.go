package socks

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	socks5 "github.com/armon/go-socks5"

	"github.com/byway-proxy/byway/relay"
)

// read5 reads greeting, authentication and request of SOCKS5 into p.
func (s *Server) read5(x *exchange, p *pending) error {
	if err := s.authenticate(x, &p.request); err != nil {
		return err
	}
	code, err := readRequest(x, p)
	if err != nil {
		if code != succeeded {
			x.out = code.appendReply(x.out)
		}
	}
	return err
}

// authenticate reads the greeting (RFC 1928 §3) and does what the method asks
// for. It sets the user of q, or the label where nobody is asked.
func (s *Server) authenticate(x *exchange, q *relay.Request) error {
	head, err := x.next(2)
	if err != nil {
		return fmt.Errorf("socks: greeting: %w", err)
	}
	methods, err := x.next(int(head[1]))
	if err != nil {
		return fmt.Errorf("socks: greeting: %w", err)
	}
	offers := func(method byte) bool { return bytes.IndexByte(methods, method) >= 0 }
	switch {
	case s.Users != nil && offers(methodPassword):
		q.User, err = password(x, strictUsers{s.Users})
		return err
	case s.Users == nil && offers(methodPassword) && q.Isolate.Has(relay.ByUser):
		// Before the method without: whoever offers both has something to say.
		var told hearer
		_, err = password(x, &told)
		q.Label = relay.Label(told.user, told.secret)
		return err
	case s.Users == nil && offers(methodNone):
		_, err = socks5.NoAuthAuthenticator{}.Authenticate(x, x)
		return err
	}
	_, _ = x.Write([]byte{version5, methodRefused})
	return fmt.Errorf("socks: %w", socks5.NoSupportedAuth)
}

// password does RFC 1929 and returns the user.
func password(x *exchange, users socks5.CredentialStore) (user string, err error) {
	auth, err := socks5.UserPassAuthenticator{Credentials: users}.Authenticate(x, x)
	switch {
	case err == nil:
		return auth.Payload["Username"], nil
	case x.err != nil:
		return "", fmt.Errorf("socks: authentication: %w", cut(x.err))
	case !errors.Is(err, socks5.UserAuthFailed):
		// It answers wrong credentials, but not a wrong version.
		_, _ = x.Write([]byte{authVersion, 1})
		return "", errVersion
	}
	return "", fmt.Errorf("socks: %w", err)
}

// hearer takes anything, and remembers it.
type hearer struct{ user, secret string }

func (h *hearer) Valid(user, secret string) bool {
	h.user, h.secret = user, secret
	return true
}

// readRequest reads a request (RFC 1928 §4): its command and target. With an
// error comes the code to answer, or [succeeded] if there is nobody to tell.
//
// The parser is armon/go-socks5's. It has no error of its own for an address
// type that it does not know, and takes any bytes for a name: both are seen to here.
// It does not look at RSV.
func readRequest(x *exchange, p *pending) (code ReplyCode, err error) {
	head, err := x.peek(4)
	if err != nil {
		return succeeded, fmt.Errorf("socks: request: %w", err)
	}
	switch head[3] {
	case addrIPv4, addrName, addrIPv6:
	default:
		return badAddress, fmt.Errorf("%w: address type 0x%02x", errTarget, head[3])
	}
	r, err := socks5.NewRequest(x)
	switch {
	case x.err != nil:
		return succeeded, fmt.Errorf("socks: request: %w", cut(x.err))
	case err != nil:
		return failed, errVersion
	}
	p.command = r.Command
	switch {
	case r.Command == commandConnect:
	case r.Command == commandAssociate && p.all:
		// The address is where the client thinks that it will send from: its
		// conn tells better. The port counts (§7).
		p.port = uint16(r.DestAddr.Port)
		return succeeded, nil
	case (r.Command == commandBind || r.Command == commandResolve || r.Command == commandResolvePTR) && p.all:
		p.port = uint16(r.DestAddr.Port)
		r.DestAddr.Port = max(r.DestAddr.Port, 1) // it need have none; rules want one
	default:
		return badCommand, fmt.Errorf("%w: 0x%02x", errCommand, r.Command)
	}
	if r.DestAddr.Port == 0 {
		return failed, fmt.Errorf("%w: %w", errTarget, errPort)
	}
	if r.DestAddr.IP == nil {
		if err := checkName(r.DestAddr.FQDN); err != nil {
			return failed, fmt.Errorf("%w: %w", errTarget, err)
		}
	}
	p.request.Addr = r.DestAddr.Address()
	return succeeded, nil
}

// read4 reads a request of SOCKS4 or 4a into q. The user id proves nothing; it is
// a label.
func read4(x *exchange, q *relay.Request) error {
	head, err := x.next(8)
	if err != nil {
		return fmt.Errorf("socks: request: %w", err)
	}
	command := head[1]
	port := strconv.Itoa(int(head[2])<<8 | int(head[3]))
	ip := netip.AddrFrom4([4]byte(head[4:8]))
	userid, err := x.text(maxName)
	if len(userid) > 0 && q.Isolate.Has(relay.ByUser) {
		q.Label = relay.Label(string(userid))
	}
	host := ip.String()
	if err == nil && marksName(ip) {
		var name []byte
		name, err = x.text(maxName)
		host = string(name)
	}
	switch {
	case x.err != nil:
		return fmt.Errorf("socks: request: %w", cut(x.err))
	case err != nil: // too long
	case command != commandConnect:
		err = fmt.Errorf("%w: 0x%02x", errCommand, command)
	case port == "0":
		err = fmt.Errorf("%w: %w", errTarget, errPort)
	default:
		if err = checkName(host); err != nil {
			err = fmt.Errorf("%w: %w", errTarget, err)
		}
	}
	if err != nil {
		x.out = rejected4.appendReply(x.out)
		return err
	}
	q.Addr = net.JoinHostPort(host, port)
	return nil
}

// marksName reports whether ip is 0.0.0.x with x not 0: SOCKS4a's sign that a
// name follows.
func marksName(ip netip.Addr) bool {
	b := ip.As4()
	return b[0] == 0 && b[1] == 0 && b[2] == 0 && b[3] != 0
}
