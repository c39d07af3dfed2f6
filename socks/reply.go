package socks

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/byway-proxy/byway/chain"
)

// A ReplyCode is the answer of a SOCKS5 server to a request (RFC 1928 §6). All
// but 0 are errors. errors.Is finds the errno that the code stands for, in the
// vocabulary of [chain.Errno]; code 1 stands for none.
type ReplyCode byte

const (
	succeeded       ReplyCode = 0
	failed          ReplyCode = 1
	notAllowed      ReplyCode = 2
	netUnreachable  ReplyCode = 3
	hostUnreachable ReplyCode = 4
	refused         ReplyCode = 5
	expired         ReplyCode = 6
	badCommand      ReplyCode = 7
	badAddress      ReplyCode = 8
)

// replies holds the RFC's words and the errno of each code.
var replies = [...]struct {
	text  string
	errno syscall.Errno
}{
	succeeded:       {"succeeded", 0},
	failed:          {"general SOCKS server failure", 0},
	notAllowed:      {"connection not allowed by ruleset", syscall.EACCES},
	netUnreachable:  {"network unreachable", syscall.ENETUNREACH},
	hostUnreachable: {"host unreachable", syscall.EHOSTUNREACH},
	refused:         {"connection refused", syscall.ECONNREFUSED},
	expired:         {"TTL expired", syscall.ETIMEDOUT},
	badCommand:      {"command not supported", syscall.EOPNOTSUPP},
	badAddress:      {"address type not supported", syscall.EAFNOSUPPORT},
}

// Error returns the RFC's words for c.
func (c ReplyCode) Error() string {
	if int(c) < len(replies) {
		return replies[c].text
	}
	return fmt.Sprintf("unassigned SOCKS reply code %d", byte(c))
}

// Is reports whether target is the errno that c stands for, or c itself.
func (c ReplyCode) Is(target error) bool {
	switch e := target.(type) {
	case ReplyCode:
		return e == c
	case syscall.Errno:
		return e != 0 && int(c) < len(replies) && replies[c].errno == e
	}
	return false
}

// replyFor returns the code that tells err. It is never 0. What a hop on the way did
// is no news of the target: it is a general failure.
func replyFor(err error) ReplyCode {
	errno := chain.TargetErrno(err)
	if errno == 0 {
		return failed
	}
	for code, r := range replies {
		if r.errno == errno {
			return ReplyCode(code)
		}
	}
	return failed // ECONNRESET, EMFILE: the RFC has no words for them
}

// appendReply appends the reply with code c and the address 0.0.0.0:0: whence
// the target is reached is nobody's business.
func (c ReplyCode) appendReply(b []byte) []byte {
	return c.appendBound(b, target{ip: netip.IPv4Unspecified()})
}

// appendBound appends the reply with code c and that address.
func (c ReplyCode) appendBound(b []byte, bound target) []byte {
	return bound.append(append(b, version5, byte(c), 0))
}

// A ReplyCode4 is the answer of a SOCKS4 server to a request. All but 90 are
// errors. 92 and 93, which are about the user, have the errno EACCES; 91 may mean
// anything and has none.
type ReplyCode4 byte

const (
	granted4  ReplyCode4 = 90
	rejected4 ReplyCode4 = 91
	noIdentd4 ReplyCode4 = 92
	badIdent4 ReplyCode4 = 93
)

// Error returns the protocol's words for c.
func (c ReplyCode4) Error() string {
	switch c {
	case granted4:
		return "request granted"
	case rejected4:
		return "request rejected or failed"
	case noIdentd4:
		return "rejected: the server finds no identd on the client"
	case badIdent4:
		return "rejected: the client's identd reports another user id"
	}
	return fmt.Sprintf("unassigned SOCKS4 reply code %d", byte(c))
}

// Is reports whether target is the errno that c stands for, or c itself.
func (c ReplyCode4) Is(target error) bool {
	switch e := target.(type) {
	case ReplyCode4:
		return e == c
	case syscall.Errno:
		return e == syscall.EACCES && (c == noIdentd4 || c == badIdent4)
	}
	return false
}

// appendReply appends the reply with code c; address and port are to be ignored.
func (c ReplyCode4) appendReply(b []byte) []byte {
	return append(b, 0, byte(c), 0, 0, 0, 0, 0, 0)
}
