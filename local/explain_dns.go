package local

import (
	"net"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/local/names"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// A NameExplanation tells what a DNS listener would answer, and by which way it would ask.
type NameExplanation struct {
	Target route.Target // the form that rules compare
	Rule   string       // what decided whether the name is blocked; "" if no rule is asked
	Answer string       // for people
	Asked  bool         // whether the servers are asked
	Path   Path         // the way to the servers, if there are any
}

// ExplainName tells what DNS listener i of the file would answer client about a name at a time,
// without any traffic.
func (s *Server) ExplainName(i int, name string, client net.Addr, at time.Time) NameExplanation {
	p := s.now()
	n := &p.config.DNS[i]
	var e NameExplanation
	for _, path := range p.paths {
		if path.DNS == n && len(n.Upstreams) > 0 {
			e.Path = path
		}
	}
	if zone, why := names.Special(name); zone != "" {
		e.Answer = "there is no such name: it is nobody's business (" + why + ")"
		if zone == "localhost" {
			e.Answer = "127.0.0.1 and ::1 (" + why + ")"
		}
		return e
	}
	var err error
	e.Target, err = route.ParseHost(name)
	d, _ := p.table.DecideName(relay.Request{Addr: name, Client: client, Listener: n.Listen}, at)
	standsIn := n.Addresses == configs.AddressesStandIn
	e.Rule = d.Rule
	switch {
	case d.Dialer == nil || standsIn && (err != nil || e.Target.Name == ""):
		e.Answer = "blocked: there is no such name"
		if n.Blocked == configs.BlockedZero {
			e.Answer = "blocked: 0.0.0.0 and ::"
		}
	case standsIn:
		e.Asked = e.Path.DNS != nil
		e.Answer = "addresses that stand for the name; of other kinds of records "
		if e.Asked {
			e.Answer += "what the servers say, without addresses"
		} else {
			e.Answer += "nothing"
		}
	default:
		e.Asked = true
		e.Answer = "what the servers say, or as a blocked name, if that leads to one that a route blocks"
	}
	return e
}
