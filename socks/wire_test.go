package socks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

func TestTarget(t *testing.T) {
	long := strings.Repeat("a", 255)
	for _, test := range []struct{ addr, wire string }{
		{"192.0.2.1:80", "\x01\xc0\x00\x02\x01\x00\x50"},
		{"[::ffff:192.0.2.1]:80", "\x01\xc0\x00\x02\x01\x00\x50"},
		{"[2001:db8::1]:65535", "\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff"},
		{"example.com:443", "\x03\x0bexample.com\x01\xbb"},
		{"Exa_mple.COM.:1", "\x03\x0dExa_mple.COM.\x00\x01"},
		{long + ":256", "\x03\xff" + long + "\x01\x00"},
	} {
		got, err := parseTarget(test.addr)
		if err != nil {
			t.Errorf("%s: %v", test.addr, err)
			continue
		}
		wire := got.append(nil)
		if string(wire) != test.wire {
			t.Errorf("%s: encoded as %q, want %q", test.addr, wire, test.wire)
		}
		if n, err := addrLen(wire[:2]); err != nil || n != len(wire) {
			t.Errorf("%s: length %d, %v, want %d", test.addr, n, err, len(wire))
		}
	}
}

func TestTargetRefused(t *testing.T) {
	for _, addr := range []string{
		"", "example.com", "example.com:", "example.com:0", "example.com:65536", "example.com:-1", "example.com:http",
		":80", "[fe80::1%eth0]:80", "fe80::1:80:90", strings.Repeat("a", 256) + ":80",
	} {
		if got, err := parseTarget(addr); err == nil {
			t.Errorf("%q was taken for %+v", addr, got)
		} else if host, _, _ := strings.Cut(addr, ":"); len(host) > 2 && strings.Contains(err.Error(), host) {
			t.Errorf("the error for %q tells the target: %v", addr, err)
		}
	}
	if _, err := addrLen([]byte{2, 0}); !errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Errorf("error %v for an unknown address type", err)
	}
	if _, err := addrLen([]byte{1}); err == nil {
		t.Error("one byte has an address's length")
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{
		"a", "localhost", "example.com", "example.com.", "EXAMPLE.com", "_dmarc.example.com", "a-b.c", "xn--bcher-kva.example",
		"127.0.0.1", "1", "::1", "2001:db8::1", strings.Repeat("a", 255),
	} {
		if err := checkName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "a..b", ".a", "a b", " a", "a\x00", "a\x00b", "a\nb", "a\r\nHost: b", "a/b", "a@b", "a:80", "a%b", "fe80::1%eth0",
		"[::1]", "a\x7f", "bücher.example", "\xff", "a*b", "a?b", "a#b", "a\\b", "a,b", "a'b", "a\"b", "a;b", strings.Repeat("a", 256),
	} {
		if err := checkName(name); err == nil {
			t.Errorf("%q was taken for a name", name)
		}
	}
}

// TestReplyCodes sends each code through an error and back.
func TestReplyCodes(t *testing.T) {
	for _, test := range []struct {
		code  ReplyCode
		errno syscall.Errno
		text  string
	}{
		{1, 0, "general SOCKS server failure"},
		{2, syscall.EACCES, "connection not allowed by ruleset"},
		{3, syscall.ENETUNREACH, "network unreachable"},
		{4, syscall.EHOSTUNREACH, "host unreachable"},
		{5, syscall.ECONNREFUSED, "connection refused"},
		{6, syscall.ETIMEDOUT, "TTL expired"},
		{7, syscall.EOPNOTSUPP, "command not supported"},
		{8, syscall.EAFNOSUPPORT, "address type not supported"},
	} {
		err := chain.Fail(chain.PhaseConnect, fmt.Errorf("wrapped: %w", test.code))
		if got := chain.Errno(err); got != test.errno {
			t.Errorf("code %d: errno %v, want %v", test.code, got, test.errno)
		}
		if got := replyFor(err); got != test.code {
			t.Errorf("code %d comes back as %d", test.code, got)
		}
		if got := test.code.Error(); got != test.text {
			t.Errorf("code %d: %q", test.code, got)
		}
		if !errors.Is(err, test.code) || errors.Is(err, test.code+1) {
			t.Errorf("code %d is not told from others by errors.Is", test.code)
		}
		if test.errno != 0 && !errors.Is(err, test.errno) {
			t.Errorf("code %d is not %v", test.code, test.errno)
		}
	}
	for _, c := range []ReplyCode{0, 1, 9, 255} {
		if got := chain.Errno(c); got != 0 || errors.Is(c, syscall.Errno(0)) {
			t.Errorf("code %d: errno %v", c, got)
		}
	}
	if got := ReplyCode(9).Error(); got != "unassigned SOCKS reply code 9" {
		t.Error(got)
	}
}

func TestReplyFor(t *testing.T) {
	for _, test := range []struct {
		err  error
		code ReplyCode
	}{
		{nil, 1}, // Reject(nil) must not say yes
		{errors.New("what"), 1},
		{relay.ErrBlocked, 2},
		{relay.ErrClosed, 1},
		{errors.ErrUnsupported, 7},
		{syscall.EMFILE, 1},
		{syscall.ECONNRESET, 1},
		{io.ErrUnexpectedEOF, 1},
		{&net.DNSError{IsNotFound: true}, 4},
		{&net.OpError{Op: "dial", Err: syscall.ENETUNREACH}, 3},
		{chain.Fail(chain.PhaseConnect, syscall.ECONNREFUSED), 5},
		{chain.Fail(chain.PhaseDial, syscall.ECONNREFUSED), 1},
		{chain.Fail(chain.PhaseAuth, badIdent4), 1},
		{chain.Fail(chain.PhaseDial, context.DeadlineExceeded), 6},
		{badIdent4, 2},
		{ReplyCode(77), 1},
	} {
		if got := replyFor(test.err); got != test.code {
			t.Errorf("%v: code %d, want %d", test.err, got, test.code)
		}
	}
}

func TestReplyCodes4(t *testing.T) {
	for code, errno := range map[ReplyCode4]syscall.Errno{90: 0, 91: 0, 92: syscall.EACCES, 93: syscall.EACCES, 94: 0} {
		if got := chain.Errno(code); got != errno {
			t.Errorf("code %d: errno %v, want %v", code, got, errno)
		}
		if !errors.Is(code, code) || errors.Is(code, code+1) || code.Error() == "" {
			t.Errorf("code %d is not told from others", code)
		}
	}
	if got := string(ReplyCode4(90).appendReply(nil)); got != "\x00\x5a\x00\x00\x00\x00\x00\x00" {
		t.Errorf("reply %q", got)
	}
	if got := string(ReplyCode(5).appendReply(nil)); got != "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00" {
		t.Errorf("reply %q", got)
	}
}

func TestStaticUsers(t *testing.T) {
	long := strings.Repeat("x", 255)
	u := users(t, map[string]string{"ann": "secret", long: long})
	for _, test := range []struct {
		user, password string
		want           bool
	}{
		{"ann", "secret", true},
		{long, long, true},
		{"ann", "secre", false},
		{"ann", "secret ", false},
		{"ann", "", false},
		{"Ann", "secret", false},
		{"bob", "secret", false},
		{"", "", false},
		{long + "x", long, false},
		{long, long + "x", false},
	} {
		if got := u.Valid(test.user, test.password); got != test.want {
			t.Errorf("Valid(%.10q, %.10q) = %t", test.user, test.password, got)
		}
	}
	if (*StaticUsers)(nil).Valid("", "") || new(StaticUsers).Valid("", "") || new(StaticUsers).Valid("ann", "secret") {
		t.Error("a set of nobody lets somebody in")
	}
	for user, password := range map[string]string{"": "x", "x": "", long + "x": "x", "y": long + "x"} {
		if _, err := NewUsers(map[string]string{user: password}); err == nil {
			t.Errorf("user %.10q with password %.10q was taken", user, password)
		}
	}
}
