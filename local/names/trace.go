package names

import (
	"net/url"
	"sync"

	"github.com/miekg/dns"
)

// A Trace is told how the servers that are asked fare. Any of its functions may be nil;
// they are called from many goroutines and must not block. A server is named by scheme, host
// and port: what else is in its URL may be a secret.
type Trace struct {
	// Failed is called when a server fails that worked before, or was not asked so far, and
	// not again before it worked: it can't be reached, does not prove who it is, is silent,
	// or what it says is no answer.
	Failed func(server string, err error)

	// Works is called when one answers that failed before.
	Works func(server string)
}

// A standing is how a server fares, for as long as the file names it: a resolver is of one
// identity, and a server that fails the next one as well is no news.
type standing struct {
	server string
	trace  *Trace

	mu     sync.Mutex
	failed bool
}

func newStanding(raw string, t *Trace) *standing {
	s := &standing{server: raw, trace: t}
	if u, err := url.Parse(raw); err == nil {
		s.server = u.Scheme + "://" + u.Host
	}
	return s
}

// note tells the trace if err, of the last question, is news.
func (s *standing) note(err error) {
	s.mu.Lock()
	news := s.failed != (err != nil)
	s.failed = err != nil
	s.mu.Unlock()
	switch {
	case !news || s.trace == nil:
	case err != nil && s.trace.Failed != nil:
		s.trace.Failed(s.server, err)
	case err == nil && s.trace.Works != nil:
		s.trace.Works(s.server)
	}
}

// A refusal is the code of a server that won't answer anything, or can't.
type refusal int

func (r refusal) Error() string { return "it answers " + dns.RcodeToString[int(r)] }

// refused returns a refusal if a is one. SERVFAIL is about the name that was asked for.
func refused(a *answer) error {
	switch a.rcode {
	case dns.RcodeRefused, dns.RcodeNotImplemented, dns.RcodeFormatError, dns.RcodeNotAuth:
		return refusal(a.rcode)
	}
	return nil
}
