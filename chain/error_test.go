package chain_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/byway-proxy/byway/chain"
)

func TestErrno(t *testing.T) {
	op := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	for _, test := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{errors.New("odd"), 0},
		{context.Canceled, 0},
		{op(syscall.ECONNREFUSED), syscall.ECONNREFUSED},
		{op(syscall.EHOSTUNREACH), syscall.EHOSTUNREACH},
		{op(syscall.ENETUNREACH), syscall.ENETUNREACH},
		{op(syscall.ETIMEDOUT), syscall.ETIMEDOUT},
		{op(syscall.EMFILE), syscall.EMFILE},
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
		{os.ErrDeadlineExceeded, syscall.ETIMEDOUT},
		{&net.DNSError{IsNotFound: true}, syscall.EHOSTUNREACH},
		{&net.DNSError{IsTimeout: true}, syscall.ETIMEDOUT},
		{fmt.Errorf("udp: %w", errors.ErrUnsupported), syscall.EOPNOTSUPP},
		{io.EOF, syscall.ECONNRESET},
		{io.ErrUnexpectedEOF, syscall.ECONNRESET},
		{errors.Join(errors.New("a"), syscall.EACCES), syscall.EACCES},
		{&chain.Error{Phase: chain.PhaseConnect, Err: op(syscall.ECONNREFUSED)}, syscall.ECONNREFUSED},
	} {
		if got := chain.Errno(test.err); got != test.want {
			t.Errorf("Errno(%v) = %v, want %v", test.err, got, test.want)
		}
	}
}

// TestReasonTellsNoAddresses holds errors whose own text names a target.
func TestReasonTellsNoAddresses(t *testing.T) {
	secret := "secret.example"
	_, dialErr := net.Dial("tcp", "127.0.0.1:1") // nobody listens on port 1
	for _, err := range []error{
		dialErr,
		&net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Err: errors.New("odd")},
		&net.DNSError{Name: secret, Err: "no such host", IsNotFound: true},
		&net.AddrError{Addr: secret, Err: "missing port in address"},
		x509.HostnameError{Certificate: &x509.Certificate{}, Host: secret},
		fmt.Errorf("dial %s: %w", secret, syscall.ECONNREFUSED),
		&net.ParseError{Type: "IP address", Text: secret},
	} {
		for _, text := range []string{chain.Reason(err), chain.Fail(chain.PhaseDial, err).Error()} {
			if strings.Contains(text, secret) || strings.Contains(text, "127.0.0.1") || text == "" {
				t.Errorf("%T tells %q", err, text)
			}
		}
	}
}

func TestFailKeepsTheInnermostPhase(t *testing.T) {
	err := chain.Fail(chain.PhaseConnect, fmt.Errorf("more: %w", chain.Fail(chain.PhaseAuth, io.EOF)))
	var e *chain.Error
	if !errors.As(err, &e) || e.Phase != chain.PhaseAuth {
		t.Errorf("got %v", err)
	}
	if got := e.Error(); got != "auth: connection closed by the peer" {
		t.Errorf("text %q", got)
	}
}
