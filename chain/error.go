package chain

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// A Phase is the part of opening a tunnel in which a hop failed.
type Phase string

// The phases of a hop, in their order.
const (
	PhaseDial    Phase = "dial"    // reaching the hop itself
	PhaseTLS     Phase = "tls"     // the TLS handshake with the hop
	PhaseAuth    Phase = "auth"    // presenting credentials to the hop
	PhaseConnect Phase = "connect" // the hop opening the way onwards
)

// An Error says which hop failed, in which phase, and why.
//
// Its text never holds a target, a credential or a hop's address; those that
// may read them find the whole cause by Unwrap. errors.Is works with the
// errno of the cause as [Errno] tells it, wherever on the path it arose.
type Error struct {
	Hop   int    // 1 is the hop next to us; 0 where the dialer is no part of a chain
	Hops  int    // how many hops the chain has
	Name  string // the hop's name
	Phase Phase
	Err   error // never nil

	trail // for the combinators that it passes on its way up
}

// Error returns a text such as "hop 2/3 paris: auth: rejected".
func (e *Error) Error() string {
	if e.Hop == 0 {
		return fmt.Sprintf("%s: %s", e.Phase, e.reason())
	}
	return fmt.Sprintf("hop %d/%d %s: %s: %s", e.Hop, e.Hops, e.Name, e.Phase, e.reason())
}

func (e *Error) reason() string {
	// Errors of crypto/tls begin with their phase already.
	return strings.TrimPrefix(Reason(e.Err), string(e.Phase)+": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the errno that [Errno] finds in e.
func (e *Error) Is(target error) bool {
	errno, ok := target.(syscall.Errno)
	return ok && errno != 0 && errno == Errno(e.Err)
}

// Fail is for implementations of a hop: it says in which phase the hop failed.
// An err that already carries a phase keeps it; the innermost stamp wins.
func Fail(phase Phase, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return &Error{Phase: phase, Err: err}
}

// ownFault reports whether a hop's failure to connect onwards is its own (it hung
// up, talked garbage, forbids the target or can't carry the network) rather than
// news about the hop that it was asked to reach.
func ownFault(err error) bool {
	switch Errno(err) {
	case syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ETIMEDOUT:
		return false
	}
	return true
}

// Errno returns the errno that stands for the cause of err, in one vocabulary
// on all systems, or 0 if there is none:
//
//	ECONNREFUSED  the target refused
//	ENETUNREACH   no route to the network
//	EHOSTUNREACH  no route to the host, or its name does not resolve
//	ETIMEDOUT     no answer in time
//	ECONNRESET    the connection was cut
//	EACCES        not allowed by a rule
//	EAFNOSUPPORT  the kind of address is not supported
//	EOPNOTSUPP    the command or network is not supported
//	EMFILE        out of file descriptors
func Errno(err error) syscall.Errno {
	for _, errno := range vocabulary {
		if is(err, errno) {
			return errno
		}
	}
	var dns *net.DNSError
	switch {
	case err == nil:
	case errors.As(err, &dns) && !dns.IsTimeout:
		return syscall.EHOSTUNREACH
	case isTimeout(err):
		return syscall.ETIMEDOUT
	case errors.Is(err, errors.ErrUnsupported):
		return syscall.EOPNOTSUPP
	case errors.Is(err, os.ErrPermission):
		return syscall.EACCES
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return syscall.ECONNRESET
	}
	return 0
}

// TargetErrno returns [Errno] as far as a client that is told it may take it for its
// target's: all of it if the last hop, or the system, said it of the target. Of a
// failure on the way there ETIMEDOUT, EOPNOTSUPP, EAFNOSUPPORT and EMFILE remain, and
// the rest is 0: that a hop refuses does not mean that the target does.
func TargetErrno(err error) syscall.Errno {
	var e *Error
	errno := Errno(err)
	if !errors.As(err, &e) || e.onward || e.Hop == 0 && e.Phase == PhaseConnect {
		return errno
	}
	switch errno {
	case syscall.ETIMEDOUT, syscall.EOPNOTSUPP, syscall.EAFNOSUPPORT, syscall.EMFILE:
		return errno
	}
	return 0
}

var vocabulary = []syscall.Errno{
	syscall.ECONNREFUSED, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ETIMEDOUT, syscall.ECONNRESET,
	syscall.EACCES, syscall.EAFNOSUPPORT, syscall.EOPNOTSUPP, syscall.EMFILE,
}

// is is errors.Is without the equivalences of syscall.Errno.Is, which would
// call every errno of a kind the same, and with the system's own numbers.
func is(err error, errno syscall.Errno) bool {
	for err != nil {
		if e, ok := err.(syscall.Errno); ok {
			return e == errno || native(e) == errno
		}
		if x, ok := err.(interface{ Is(error) bool }); ok && x.Is(errno) {
			return true
		}
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, one := range x.Unwrap() {
				if is(one, errno) {
					return true
				}
			}
			return false
		default:
			return false
		}
	}
	return false
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &t) && t.Timeout()
}

// Reason returns the cause of err for people, without the addresses and names
// that errors of package net carry in their text.
func Reason(err error) string {
	var (
		chainErr *Error
		dns      *net.DNSError
		addrErr  *net.AddrError
		op       *net.OpError
		host     x509.HostnameError
		alert    tls.AlertError
		invalid  x509.CertificateInvalidError
	)
	if all, ok := err.(*GroupError); ok {
		return all.Error()
	}
	switch {
	case err == nil:
		return "no error"
	case errors.As(err, &chainErr):
		return chainErr.Error()
	case errors.Is(err, context.Canceled):
		return "given up by the caller"
	case errors.As(err, &dns):
		if dns.IsTimeout {
			return "its name was not resolved in time"
		}
		return "its name does not resolve"
	case errors.As(err, &addrErr):
		return addrErr.Err
	case errors.As(err, &host):
		return "the certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate has expired, or is not valid yet by this machine's clock"
	case errors.As(err, &alert):
		return alert.Error()
	case isTimeout(err):
		return "timed out"
	case errors.As(err, &op):
		return Reason(op.Err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed by the peer"
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno.Error()
	}
	if parse := (*net.ParseError)(nil); errors.As(err, &parse) {
		return "invalid " + parse.Type
	}
	return err.Error()
}
