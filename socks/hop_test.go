package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// a script is a server that, in turn, waits for so many bytes and says that.
type script []struct {
	wait int
	say  string
}

func (s script) serve(c net.Conn) {
	for _, line := range s {
		if _, err := io.ReadFull(c, make([]byte, line.wait)); err != nil {
			return
		}
		if _, err := c.Write([]byte(line.say)); err != nil {
			return
		}
	}
	_ = chain.CloseWrite(c)
	_, _ = io.Copy(io.Discard, c)
}

// TestHopFailures has servers that refuse, break off and lie.
func TestHopFailures(t *testing.T) {
	hop5 := func(o HopOptions) chain.Hop { o.Pipeline = Off; return Hop5("hop:1080", o) }
	hop4 := func(o HopOptions) chain.Hop { return Hop4("hop:1080", o) }
	ann := HopOptions{User: "ann", Password: "secret"}
	const request, login, request4 = len(toV4), len("\x01\x03ann\x06secret"), 9
	for _, test := range []struct {
		name   string
		hop    func(HopOptions) chain.Hop
		o      HopOptions
		server script
		phase  chain.Phase
		err    error
		text   string
	}{
		{"no method", hop5, HopOptions{}, script{{3, "\x05\xff"}}, chain.PhaseAuth, errMethod, "auth: the hop refuses"},
		{"another method", hop5, HopOptions{}, script{{3, "\x05\x02"}}, chain.PhaseAuth, errGarbage, "not SOCKS"},
		{"no password asked for", hop5, ann, script{{3, "\x05\x00"}}, chain.PhaseAuth, errGarbage, "not SOCKS"},
		{"HTTP", hop5, HopOptions{}, script{{3, "HTTP/1.1 400 Bad Request\r\n"}}, chain.PhaseAuth, errGarbage, "not SOCKS"},
		{"closed at once", hop5, HopOptions{}, script{}, chain.PhaseAuth, syscall.ECONNRESET, "auth: connection closed by the peer"},
		{"half a choice", hop5, HopOptions{}, script{{3, "\x05"}}, chain.PhaseAuth, syscall.ECONNRESET, "closed by the peer"},
		{"rejected", hop5, ann, script{{3, "\x05\x02"}, {login, "\x01\x01"}}, chain.PhaseAuth, errRejected, "hop 1/1 socks5://hop:1080: auth: rejected"},
		{"rejected otherwise", hop5, ann, script{{3, "\x05\x02"}, {login, "\x01\xff"}}, chain.PhaseAuth, errRejected, "auth: rejected"},
		{"closed on login", hop5, ann, script{{3, "\x05\x02"}, {login, ""}}, chain.PhaseAuth, syscall.ECONNRESET, "closed by the peer"},
		{"garbage on login", hop5, ann, script{{3, "\x05\x02"}, {login, "\x05\x00"}}, chain.PhaseAuth, errGarbage, "not SOCKS"},
		{"closed on request", hop5, HopOptions{}, script{{3, "\x05\x00"}, {request, ""}}, chain.PhaseConnect, syscall.ECONNRESET, "connect: connection closed"},
		{"half a reply", hop5, HopOptions{}, script{{3, "\x05\x00"}, {request, granted[:9]}}, chain.PhaseConnect, syscall.ECONNRESET, "closed"},
		{"a name short", hop5, HopOptions{}, script{{3, "\x05\x00"}, {request, "\x05\x00\x00\x03\xffname"}}, chain.PhaseConnect, syscall.ECONNRESET, "closed"},
		{"wrong version", hop5, HopOptions{}, script{{3, "\x05\x00"}, {request, "\x04" + granted[1:]}}, chain.PhaseConnect, errGarbage, "not SOCKS"},
		{"unknown address type", hop5, HopOptions{}, script{{3, "\x05\x00"}, {request, "\x05\x00\x00\x02\x00\x00\x00\x00\x00\x00"}}, chain.PhaseConnect, errGarbage, "not SOCKS"},
		{"short refusal", hop5, HopOptions{}, script{{3, "\x05\x00"}, {request, "\x05\x05"}}, chain.PhaseConnect, syscall.ECONNREFUSED, "connect: connection refused"},
		{"unassigned code", hop5, HopOptions{}, script{{3, "\x05\x00"}, {request, no(99)}}, chain.PhaseConnect, ReplyCode(99), "reply code 99"},
		{"SOCKS4 91", hop4, HopOptions{}, script{{request4, no4}}, chain.PhaseConnect, rejected4, "connect: request rejected"},
		{"SOCKS4 92", hop4, HopOptions{}, script{{request4, "\x00\x5c\x00\x00\x00\x00\x00\x00"}}, chain.PhaseAuth, noIdentd4, "auth: rejected"},
		{"SOCKS4 93", hop4, HopOptions{}, script{{request4, "\x00\x5d\x00\x00\x00\x00\x00\x00"}}, chain.PhaseAuth, badIdent4, "auth: rejected"},
		{"SOCKS4 0", hop4, HopOptions{}, script{{request4, "\x00\x00\x00\x00\x00\x00\x00\x00"}}, chain.PhaseConnect, ReplyCode4(0), "reply code 0"},
		{"SOCKS4 garbage", hop4, HopOptions{}, script{{request4, "HTTP/1.1 400 Bad Request"}}, chain.PhaseConnect, errGarbage, "not SOCKS"},
		{"SOCKS4 half a reply", hop4, HopOptions{}, script{{request4, yes4[:7]}}, chain.PhaseConnect, syscall.ECONNRESET, "closed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := testnet.New()
			served := make(chan struct{})
			listen(t, n, "hop", ":1080", func(c net.Conn) { test.server.serve(c); close(served) })
			c := newChain(t, n.Host("client"), test.hop(test.o))
			conn, err := c.DialContext(t.Context(), "tcp", "192.0.2.1:80")
			wantFailure(t, conn, err, test.phase, test.err)
			if !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "192.0.2.1") || strings.Contains(err.Error(), "secret") {
				t.Errorf("the error says %q, want %q", err, test.text)
			}
			<-served // it sees that the client closed
		})
	}
}

func wantFailure(t *testing.T, conn net.Conn, err error, phase chain.Phase, cause error) {
	t.Helper()
	var e *chain.Error
	if conn != nil || !errors.As(err, &e) {
		t.Fatalf("got %v, %v; want a *chain.Error", conn, err)
	}
	if e.Phase != phase || !errors.Is(err, cause) {
		t.Errorf("failed in phase %s: %v; want %s: %v", e.Phase, err, phase, cause)
	}
}

// TestHopReplies lets a target speak first, behind replies of every form.
func TestHopReplies(t *testing.T) {
	for name, reply := range map[string]string{
		"IPv4":       granted,
		"IPv6":       "\x05\x00\x00\x04" + strings.Repeat("\x00", 18),
		"name":       "\x05\x00\x00\x03\x04name\x00\x50",
		"long name":  "\x05\x00\x00\x03\xff" + strings.Repeat("n", 255) + "\x00\x50",
		"empty name": "\x05\x00\x00\x03\x00\x00\x00",
		"odd RSV":    "\x05\x00\x07" + granted[3:],
	} {
		for _, pipeline := range []Pipeline{On, Off} {
			for _, cuts := range [][]byte{nil, {1}} {
				next := &scripted{segments: segments([]byte("\x05\x00"+reply+"banner"), cuts)}
				d, err := Hop5("hop:1080", HopOptions{Pipeline: pipeline}).Wrap(always(next))
				must(t, err)
				conn, err := d.DialContext(t.Context(), "tcp", "192.0.2.1:80")
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if got, err := io.ReadAll(conn); err != nil || string(got) != "banner" {
					t.Errorf("%s: read %q, %v", name, got, err)
				}
				if _, raw := chain.Raw(conn); raw != net.Conn(next) {
					t.Errorf("%s: the raw conn is a %T", name, raw)
				}
				if got := string(next.written); got != hello+toV4 {
					t.Errorf("%s: wrote %q", name, got)
				}
			}
		}
	}
}

func always(c net.Conn) chain.Dialer {
	return chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) { return c, nil })
}

// TestRequestsSent checks the bytes that hops send.
func TestRequestsSent(t *testing.T) {
	ann := HopOptions{User: "ann", Password: "secret", Pipeline: On}
	for _, test := range []struct {
		hop          chain.Hop
		addr         string
		reply, wants string
	}{
		{
			Hop5("h:1", ann), "example.com:443", "\x05\x02\x01\x00" + granted,
			"\x05\x01\x02\x01\x03ann\x06secret\x05\x01\x00\x03\x0bexample.com\x01\xbb",
		},
		{
			Hop5("h:1", HopOptions{User: "ann"}), "[2001:db8::1]:1", "\x05\x02\x01\x00" + granted,
			"\x05\x01\x02\x01\x03ann\x00\x05\x01\x00\x04" + string(net.ParseIP("2001:db8::1")) + "\x00\x01",
		},
		{Hop4("h:1", HopOptions{User: "ann"}), "192.0.2.1:80", yes4, "\x04\x01\x00\x50\xc0\x00\x02\x01ann\x00"},
		{Hop4("h:1", HopOptions{}), "[::ffff:192.0.2.1]:80", yes4, "\x04\x01\x00\x50\xc0\x00\x02\x01\x00"},
		{Hop4a("h:1", HopOptions{User: "ann"}), "example.com:443", yes4, "\x04\x01\x01\xbb\x00\x00\x00\x01ann\x00example.com\x00"},
		{Hop4a("h:1", HopOptions{}), "192.0.2.1:80", yes4, "\x04\x01\x00\x50\xc0\x00\x02\x01\x00"},
	} {
		c := &scripted{segments: segments([]byte(test.reply), nil)}
		conn, err := newChain(t, always(c), test.hop).Dial("tcp", test.addr)
		if err != nil || conn != net.Conn(c) {
			t.Errorf("%s, %s: %v, %v", test.hop.Name, test.addr, conn, err)
		}
		if got := string(c.written); got != test.wants {
			t.Errorf("%s, %s: wrote %q, want %q", test.hop.Name, test.addr, got, test.wants)
		}
	}
}

// TestNothingIsDialled asks for what hops must refuse by themselves. Names in
// particular must not be resolved to fit SOCKS4.
func TestNothingIsDialled(t *testing.T) {
	four, foura, five := Hop4("hop:1080", HopOptions{}), Hop4a("hop:1080", HopOptions{}), Hop5("hop:1080", HopOptions{})
	for _, test := range []struct {
		hop           chain.Hop
		network, addr string
		err           error
		text          string
	}{
		{four, "tcp", "example.com:80", syscall.EAFNOSUPPORT, "use socks4a"},
		{four, "tcp", "localhost:80", syscall.EAFNOSUPPORT, "use socks4a"},
		{four, "tcp", "[2001:db8::1]:80", syscall.EAFNOSUPPORT, "IPv6"},
		{foura, "tcp", "[2001:db8::1]:80", syscall.EAFNOSUPPORT, "IPv6"},
		{four, "tcp", "0.0.0.7:80", syscall.EAFNOSUPPORT, "0.0.0.x"},
		{foura, "tcp", "0.0.0.7:80", syscall.EAFNOSUPPORT, "0.0.0.x"},
		{five, "tcp", "[fe80::1%eth0]:80", syscall.EAFNOSUPPORT, "zone"},
		{foura, "tcp", "a\x00b:80", errName, "not a host name"},
		{five, "tcp", strings.Repeat("n", 256) + ":80", errName, "not a host name"},
		{five, "tcp", ":80", errName, "not a host name"},
		{five, "tcp", "example.com:0", errPort, "port"},
		{five, "udp", "example.com:80", errors.ErrUnsupported, "udp"},
		{foura, "udp", "example.com:80", errors.ErrUnsupported, "udp"},
		{four, "udp", "192.0.2.1:80", errors.ErrUnsupported, "udp"},
	} {
		conn, err := newChain(t, testnet.NoDial(t), test.hop).Dial(test.network, test.addr)
		phase := map[bool]chain.Phase{false: chain.PhaseConnect, true: chain.PhaseDial}[test.hop.Name == five.Name && test.network == "udp"] // were there a way
		wantFailure(t, conn, err, phase, test.err)
		if !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "example") {
			t.Errorf("%s: %v", test.addr, err)
		}
	}
}

func TestHopsRefused(t *testing.T) {
	long := strings.Repeat("x", 256)
	base := testnet.NoDial(t)
	for name, hop := range map[string]chain.Hop{
		"no port":               Hop5("hop", HopOptions{}),
		"port 0":                Hop5("hop:0", HopOptions{}),
		"no host":               Hop4(":1080", HopOptions{}),
		"long user":             Hop5("hop:1", HopOptions{User: long, Password: "x"}),
		"long password":         Hop5("hop:1", HopOptions{User: "x", Password: long}),
		"password without user": Hop5("hop:1", HopOptions{Password: "x"}),
		"Pipeline":              Hop5("hop:1", HopOptions{Pipeline: Off + 1}),
		"SOCKS4 with password":  Hop4("hop:1", HopOptions{User: "x", Password: "x"}),
		"NUL in user id":        Hop4a("hop:1", HopOptions{User: "a\x00b"}),
		"long user id":          Hop4a("hop:1", HopOptions{User: long}),
	} {
		if d, err := hop.Wrap(base); err == nil || d != nil {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	for _, hop := range []chain.Hop{Hop5("hop:1", HopOptions{}), Hop4("hop:1", HopOptions{})} {
		if d, err := hop.Wrap(nil); err == nil || d != nil {
			t.Errorf("%s without a dialer: %v, %v", hop.Name, d, err)
		}
	}
	for want, hop := range map[string]chain.Hop{
		"socks5://hop:1": Hop5("hop:1", HopOptions{User: "u", Password: "p"}), "socks4a://hop:1": Hop4a("hop:1", HopOptions{}),
		"socks4://hop:1": Hop4("hop:1", HopOptions{}), "paris": Hop4("hop:1", HopOptions{Name: "paris"}),
	} {
		if hop.Name != want {
			t.Errorf("name %q, want %q", hop.Name, want)
		}
	}
}

// TestHopLimits has hops that are out of reach or fall silent.
func TestHopLimits(t *testing.T) {
	hops := map[string]func(HopOptions) chain.Hop{
		"5":  func(o HopOptions) chain.Hop { o.Pipeline = Off; return Hop5("hop:1080", o) },
		"5p": func(o HopOptions) chain.Hop { o.Pipeline = On; return Hop5("hop:1080", o) },
		"4a": func(o HopOptions) chain.Hop { return Hop4a("hop:1080", o) },
	}
	silent := map[string]script{"from the start": {{100, ""}}, "after the greeting": {{3, "\x05\x00"}, {100, ""}}}
	for version, hop := range hops {
		for limit, want := range map[time.Duration]time.Duration{0: 10 * time.Second, time.Second: time.Second} {
			t.Run(version+"/out of reach/"+want.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := testnet.New()
					n.BlackHole("hop:1080")
					began := time.Now()
					conn, err := newChain(t, n.Host("client"), hop(HopOptions{DialLimit: limit})).Dial("tcp", "192.0.2.1:80")
					wantFailure(t, conn, err, chain.PhaseDial, syscall.ETIMEDOUT)
					if took := time.Since(began); took != want {
						t.Errorf("took %v, want %v", took, want)
					}
				})
			})
			for when, server := range silent {
				t.Run(version+"/silent "+when+"/"+want.String(), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						n := testnet.New()
						listen(t, n, "hop", ":1080", server.serve)
						began := time.Now()
						phase := chain.PhaseConnect
						if version != "4a" && when == "from the start" {
							phase = chain.PhaseAuth
						}
						if version == "4a" && when != "from the start" {
							return
						}
						conn, err := newChain(t, n.Host("client"), hop(HopOptions{HandshakeLimit: limit})).Dial("tcp", "192.0.2.1:80")
						wantFailure(t, conn, err, phase, syscall.ETIMEDOUT)
						if took := time.Since(began); took != want {
							t.Errorf("took %v, want %v", took, want)
						}
					})
				})
			}
		}
	}
}

// TestDialLimitWithoutChain uses a hop over a plain dialer.
func TestDialLimitWithoutChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		n.BlackHole("hop:1080")
		d, err := Hop5("hop:1080", HopOptions{}).Wrap(n.Host("client"))
		must(t, err)
		conn, err := d.DialContext(t.Context(), "tcp", "192.0.2.1:80")
		wantFailure(t, conn, err, chain.PhaseDial, context.DeadlineExceeded)
		_, err = d.DialContext(t.Context(), "tcp", "192.0.2.1:0")
		wantFailure(t, nil, err, chain.PhaseConnect, errPort)
	})
}
