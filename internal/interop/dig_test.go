//go:build interop

package interop

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// asked is what reaches the DNS server beyond byway.
type asked struct {
	mu  sync.Mutex
	all []*dns.Msg
}

// serve answers all names by TCP: big ones with more than UDP carries.
func (a *asked) serve(t *testing.T) net.Addr {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		a.mu.Lock()
		a.all = append(a.all, m)
		a.mu.Unlock()
		r := new(dns.Msg)
		r.SetReply(m)
		name, form := m.Question[0].Name, map[uint16]string{
			dns.TypeA: "%s 300 IN A 192.0.2.7", dns.TypeAAAA: "%s 300 IN AAAA 2001:db8::7", dns.TypeMX: "%s 300 IN MX 10 mail.example.",
			dns.TypeHTTPS: "%s 300 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.7", dns.TypeTXT: "%s 300 IN TXT \"" + strings.Repeat("x", 200) + "\"",
		}[m.Question[0].Qtype]
		n := 1
		switch {
		case form == "":
			n = 0
		case strings.HasPrefix(name, "big."):
			n = 40
		case strings.HasPrefix(name, "no."):
			n, r.Rcode = 0, dns.RcodeNameError
		}
		for range n {
			rr, err := dns.NewRR(fmt.Sprintf(form, name))
			if err != nil {
				t.Error(err)
				break
			}
			r.Answer = append(r.Answer, rr)
		}
		r.Extra = append(r.Extra, &dns.A{Hdr: dns.RR_Header{Name: "mail.example.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: net.IPv4(192, 0, 2, 8)})
		_ = w.WriteMsg(r)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr()
}

var bothDNS = regexp.MustCompile(`(?s)answering DNS" address=(\S+).*answering DNS" address=(\S+)`)

// TestDig asks the DNS listeners by BIND's dig: UDP and TCP, EDNS and none, what is too long,
// what is refused, in both modes.
func TestDig(t *testing.T) {
	_, err := find("dig")
	need(t, 0, err)
	var beyond asked
	upstream := beyond.serve(t)
	b := runByway(t, fmt.Sprintf("[[listen]]\naddress = \"127.0.0.1:0\"\n"+
		"[[dns]]\nlisten = \"127.0.0.1:0\"\nupstream = \"tcp://%s\"\nvia = \"direct\"\nblocked = \"zero\"\n"+
		"[[dns]]\nlisten = \"127.0.0.1:0\"\naddresses = \"stand-in\"\nupstream = \"tcp://%[1]s\"\nvia = \"direct\"\n"+
		"[[route]]\nto = \"block\"\ndomain = \".blocked.example\"\n[[route]]\nto = \"direct\"\n", upstream), nil)
	at, err := b.said(bothDNS)
	must(t, err)
	dig := func(server, args, want string) {
		t.Helper()
		host, port, _ := net.SplitHostPort(server)
		all := append([]string{"@" + host, "-p", port, "+tries=1", "+time=10", "+nocmd"}, strings.Fields(args)...)
		r := client(t, nil, os.Environ(), "dig", all...)
		text := string(r.stdout)
		if r.code != 0 || !regexp.MustCompile(want).MatchString(text) || strings.Contains(text, "WARNING") || strings.Contains(text, "malformed") {
			t.Errorf("dig %s: status %d, no %q in\n%s%s", args, r.code, want, text, r.stderr)
		}
	}
	for _, how := range []string{"", " +tcp", " +noedns", " +noedns +tcp", " +dnssec", " +bufsize=4096", " +subnet=192.0.2.0/24", " +nsid", " +cdflag"} {
		dig(at[1], "a.example A"+how, `(?s)status: NOERROR.*flags: qr rd ra.*ANSWER: 1.*a\.example\.\s+\d+\s+IN\s+A\s+192\.0\.2\.7`)
		dig(at[1], "no.example A"+how, `status: NXDOMAIN`)
		dig(at[1], "x.blocked.example AAAA"+how, `x\.blocked\.example\.\s+10\s+IN\s+AAAA\s+::\n`)
		dig(at[2], "a.example A"+how, `(?s)status: NOERROR.*a\.example\.\s+60\s+IN\s+A\s+198\.1[89]\.`)
		dig(at[2], "a.example AAAA"+how, `(?s)status: NOERROR.*a\.example\.\s+60\s+IN\s+AAAA\s+fc00::`)
		dig(at[2], "x.blocked.example A"+how, `status: NXDOMAIN`)
	}
	short := func(args string) string {
		host, port, _ := net.SplitHostPort(at[2])
		return strings.TrimSpace(string(client(t, nil, os.Environ(), "dig", append([]string{"@" + host, "-p", port, "+short"}, strings.Fields(args)...)...).stdout))
	}
	for _, kind := range []string{"A", "AAAA"} {
		if a := short("a.example " + kind); short("-x "+a) != "a.example." {
			t.Errorf("the name of %s is %q", a, short("-x "+a))
		}
	}
	dig(at[2], "a.example HTTPS", `HTTPS\s+1 \. alpn="?h2"?\n`)
	dig(at[2], "a.example MX", `(?s)ADDITIONAL: 1\n.*MX\s+10 mail\.example\.`) // that one is EDNS
	dig(at[1], "a.example MX", `(?s)ADDITIONAL: 2\n.*mail\.example\.\s+\d+\s+IN\s+A\s+192\.0\.2\.8`)
	for _, server := range at[1:] {
		dig(server, "big.example TXT +ignore", `flags: qr tc rd ra`)
		dig(server, "big.example TXT +ignore +noedns", `flags: qr tc rd ra`)
		dig(server, "big.example TXT", `(?s)ANSWER: 40,.*SERVER: .*\(TCP\)`) // it asks again
		dig(server, "a.example ANY", `HINFO\s+"RFC8482"`)
		dig(server, "a.example A +norecurse", `status: REFUSED`)
		dig(server, "a.example A -c CH", `status: REFUSED`)
		dig(server, "a.example A +opcode=NOTIFY", `status: NOTIMP`)
		dig(server, "a.example A +edns=7 +noednsnegotiation", `status: BADVERS`)
		dig(server, "localhost A", `127\.0\.0\.1\n`)
		dig(server, "x.onion A", `status: NXDOMAIN`)
		dig(server, "+tcp +keepopen a.example MX b.example MX no.example MX", `(?s)ANSWER: 1.*ANSWER: 1.*status: NXDOMAIN`)
	}
	beyond.mu.Lock()
	defer beyond.mu.Unlock()
	for _, m := range beyond.all {
		if opt := m.IsEdns0(); opt == nil || len(opt.Option) > 0 {
			t.Errorf("the server was told %v", m)
		}
	}
}
