package h2

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// An Error tells how a stream or its session ended, other than in good order.
// It is an ECONNRESET.
type Error struct {
	// Code is the peer's reason, or the one that the peer was given.
	Code Code

	// Session tells that the whole session ended.
	Session bool

	// Unprocessed tells that the peer did nothing about the stream (RFC 9113 §8.7):
	// it refused it, or said goodbye before it. It may be asked for again.
	Unprocessed bool

	// Err is what happened on the conn, or what is wrong with what the peer sent;
	// nil if Code says it all.
	Err error
}

func (e *Error) Error() string {
	what := "stream reset by the proxy"
	switch {
	case e.Session && e.Err != nil:
		return fmt.Sprintf("HTTP/2 session: %v", e.Err)
	case e.Session:
		what = "session ended by the proxy"
	case e.Err != nil:
		return fmt.Sprintf("HTTP/2 stream: %v", e.Err)
	}
	return fmt.Sprintf("HTTP/2 %s: %v", what, e.Code)
}

// Unwrap returns ECONNRESET, and what happened on the conn.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{syscall.ECONNRESET}
	}
	return []error{syscall.ECONNRESET, e.Err}
}

// violation is the error of a peer that breaks the rules, which ends the session.
func violation(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Session: true, Err: fmt.Errorf("the proxy broke the protocol: "+format, args...)}
}

var (
	errIdle   = errors.New("closed as it was not in use")
	errSilent = errors.New("the proxy no longer answers")
)

// opError is an error of a stream in the form of package net.
func (st *Stream) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: st.LocalAddr(), Addr: st.RemoteAddr(), Err: err}
}
