package ssh

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// tunnel is a channel as a stream.Stream.
type tunnel struct {
	ssh.Channel
	l      *link
	closed atomic.Bool // nobody reads any more
}

// Read makes sure that an end is the channel's, and not that of a connection that dies.
func (t *tunnel) Read(p []byte) (int, error) {
	n, err := t.Channel.Read(p)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF && !t.closed.Load() && !t.l.raw.broken.Load() && t.l.alive():
		return n, io.EOF
	}
	return n, syscall.ECONNRESET
}

// Write fails when the channel is closed, by whomever.
func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.Channel.Write(p)
	if err != nil {
		return n, syscall.EPIPE
	}
	return n, nil
}

func (t *tunnel) Close() error {
	t.closed.Store(true)
	err := t.Channel.Close()
	t.l.release()
	return err
}

// A target is where a tunnel leads.
type target struct {
	host string
	port uint16
}

var errTarget = errors.New("the target is not a valid host:port")

func parseTarget(addr string) (target, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return target{}, errTarget
	}
	n, err := strconv.ParseUint(port, 10, 16)
	control := func(r rune) bool { return r <= ' ' || r == 0x7f }
	if err != nil || n == 0 || host == "" || len(host) > 255 || strings.ContainsFunc(host, control) {
		return target{}, errTarget
	}
	return target{host, uint16(n)}, nil
}

// request is the payload of RFC 4254 §7.2. The client's own address is nobody's
// business.
func (t target) request() []byte {
	return ssh.Marshal(struct {
		Host       string
		Port       uint32
		Originator string
		From       uint32
	}{t.host, uint32(t.port), "127.0.0.1", 0})
}

// refusal is a server's answer that it does not open a tunnel. The server's own
// text may name the target, and is not told.
type refusal struct {
	text  string
	errno syscall.Errno // 0 if there is none
}

func (r *refusal) Error() string { return r.text }

// Is reports whether target is the errno of r.
func (r *refusal) Is(target error) bool { return r.errno != 0 && target == r.errno }

// refusalOf tells what a code (RFC 4254 §5.1) and OpenSSH's text beside it mean.
func refusalOf(e *ssh.OpenChannelError) *refusal {
	switch e.Reason {
	case ssh.Prohibited:
		return &refusal{"the server does not allow tunnels to there (administratively prohibited)", syscall.EACCES}
	case ssh.UnknownChannelType:
		return &refusal{"the server knows no tunnels", syscall.EOPNOTSUPP}
	case ssh.ResourceShortage:
		return &refusal{"the server is short of resources for another tunnel", 0}
	case ssh.ConnectionFailed:
		text := strings.ToLower(e.Message)
		for _, f := range failures {
			if strings.Contains(text, f.part) {
				return &f.refusal
			}
		}
		return &refusal{"the server could not connect", syscall.EHOSTUNREACH}
	}
	return &refusal{"the server refuses, for a reason that the protocol does not know", 0}
}

// failures are texts of strerror and gai_strerror.
var failures = []struct {
	part string
	refusal
}{
	{"refused", refusal{"connection refused", syscall.ECONNREFUSED}},
	{"timed out", refusal{"the server got no answer in time", syscall.ETIMEDOUT}},
	{"timeout", refusal{"the server got no answer in time", syscall.ETIMEDOUT}},
	{"network is unreachable", refusal{"network is unreachable", syscall.ENETUNREACH}},
	{"no route to host", refusal{"no route to host", syscall.EHOSTUNREACH}},
	{"reset by peer", refusal{"connection reset by peer", syscall.ECONNRESET}},
	{"permission denied", refusal{"permission denied", syscall.EACCES}},
	{"not permitted", refusal{"permission denied", syscall.EACCES}},
	{"not known", refusal{"the server does not resolve the name", syscall.EHOSTUNREACH}},
	{"no such host", refusal{"the server does not resolve the name", syscall.EHOSTUNREACH}},
	{"unknown host", refusal{"the server does not resolve the name", syscall.EHOSTUNREACH}},
	{"name resolution", refusal{"the server does not resolve the name", syscall.EHOSTUNREACH}},
	{"no address associated", refusal{"the server does not resolve the name", syscall.EHOSTUNREACH}},
	{"address family", refusal{"the server does not support this kind of address", syscall.EAFNOSUPPORT}},
}
