package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/dnsask"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// far is a hop that takes a while, and at whose end there is only itself.
func far(name string, takes time.Duration, dialer chain.DialerFunc) Hop {
	return Hop{Scheme: "socks5", Addr: name + ":1080", Hop: chain.Hop{Name: name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		return chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dialer != nil {
				return dialer(ctx, network, addr)
			}
			c, err := next.DialContext(ctx, network, name+":1080")
			if err != nil {
				return nil, err
			}
			time.Sleep(takes)
			return c, nil
		}), nil
	}}}
}

// base takes 10 ms to reach anything.
var base = chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
	time.Sleep(10 * time.Millisecond)
	near, far := net.Pipe()
	_ = far.Close()
	return near, nil
})

func stepsOf(h HopReport) string {
	var all []string
	for _, s := range h.Steps {
		all = append(all, s.Name)
	}
	return strings.Join(all, " ")
}

// TestAdds: what a hop adds is the time that it takes, not that of those before.
func TestAdds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		c := Course{Name: "two", Base: base, Hops: []Hop{far("a", 20*time.Millisecond, nil), far("b", 40*time.Millisecond, nil)}}
		r := Examine(t.Context(), c, Options{Target: "t.example:1", Progress: func(what string) { said = append(said, what) }})
		if !r.OK || r.Verdict != "ok: a tunnel through 2 hops opens in 70ms" {
			t.Errorf("%s", r.Verdict)
		}
		if a, b := r.Hops[0], r.Hops[1]; a.Adds != 10*time.Millisecond || b.Adds != 20*time.Millisecond || stepsOf(a) != "tcp auth" || stepsOf(b) != "name tcp auth connect" {
			t.Errorf("%+v", r.Hops)
		}
		if s := r.Hops[1].Steps; s[len(s)-1].Took != 40*time.Millisecond {
			t.Errorf("connect took %v", s[len(s)-1].Took)
		}
		if len(said) < 4 {
			t.Errorf("progress: %q", said)
		}
	})
}

// TestAstray: a chain that dials past hop 1 is found out.
func TestAstray(t *testing.T) {
	leaky := far("b", 0, nil)
	leaky.Wrap = func(next chain.Dialer) (chain.Dialer, error) { return next, nil } // as if it were not there
	r := Examine(t.Context(), Course{Name: "leaky", Base: base, Hops: []Hop{leaky}}, Options{Target: "t.example:1"})
	if r.OK || !strings.Contains(r.Verdict, "this machine was made to dial") || r.Remedy == "" {
		t.Errorf("%s\n%s", r.Verdict, r.Remedy)
	}
}

type resolver map[string]netip.Addr

func (r resolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := r[host]; ok {
		return []netip.Addr{a}, nil
	}
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

// TestName: the name of hop 1 is looked up here, those of others never.
func TestName(t *testing.T) {
	c := Course{Name: "two", Base: base, Hops: []Hop{far("a", 0, nil), far("b", 0, nil)}}
	r := Examine(t.Context(), c, Options{Target: "t.example:1", Resolver: resolver{"a": netip.MustParseAddr("192.0.2.1")}})
	if s := r.Hops[0].Steps[0]; !r.OK || s.Detail != "by this system: 192.0.2.1" {
		t.Errorf("%+v", s)
	}
	if s := r.Hops[1].Steps[0]; s.Left != "resolved by hop a, never here" {
		t.Errorf("%+v", s)
	}
	r = Examine(t.Context(), c, Options{Resolver: resolver{}})
	if r.OK || r.Verdict != "hop 1/2 a: name: its name does not resolve" || !strings.HasPrefix(r.Remedy, "correct the name") {
		t.Errorf("%s\n%s", r.Verdict, r.Remedy)
	}
}

// TestClock tells how far off the exit's clock is.
func TestClock(t *testing.T) {
	for off, want := range map[time.Duration]string{
		0: "as here, within 100ms", 90 * time.Second: "the exit's is 1m30s ahead of the one here", -time.Hour: "the exit's is 1h0m0s behind the one here",
	} {
		synctest.Test(t, func(t *testing.T) {
			e := &examination{Options: Options{Limit: time.Second}, base: &witness{Dialer: base}}
			e.course.Hops = []Hop{far("exit", 0, func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				go dnsask.Answer(far, clock{off}, time.Second)
				return near, nil
			})}
			e.course.Hops[0].TLS = &tls.Config{}
			e.report.Hops = make([]HopReport, 1)
			if !e.exit(t.Context()) {
				t.Fatalf("no egress: %+v", e.report)
			}
			for _, s := range e.report.Whole {
				if s.Name == "clock" && s.Detail != want {
					t.Errorf("%v: %q, want %q", off, s.Detail, want)
				}
			}
		})
	}
}

type clock struct{ off time.Duration }

func (clock) Addrs(context.Context, string) ([]netip.Addr, error) { return nil, errors.ErrUnsupported }

func (clock) Names(context.Context, netip.Addr) ([]string, error) { return nil, errors.ErrUnsupported }

func (c clock) Self() []string { return dnsask.Self{Clock: time.Now().Add(c.off)}.Strings() }

func TestDescribe(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for want, c := range map[string]*x509.Certificate{
		"certificate of a b by CA, 10 days left": {
			DNSNames: []string{"a", "b"}, Issuer: pkix.Name{CommonName: "CA"}, NotAfter: now.AddDate(0, 0, 10).Add(time.Hour),
		},
		"certificate of a b c …, expired on 2025-12-31": {DNSNames: []string{"a", "b", "c", "d"}, NotAfter: now.AddDate(0, 0, -1)},
		"certificate of no names by Org, 1 day left":    {Issuer: pkix.Name{Organization: []string{"Org"}}, NotAfter: now.AddDate(0, 0, 1).Add(time.Hour)},
		"certificate of 192.0.2.1, not good before 2026-01-02 00:00:00": {
			IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, NotBefore: now.AddDate(0, 0, 1), NotAfter: now.AddDate(1, 0, 0),
		},
	} {
		if got := describe(c, now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
