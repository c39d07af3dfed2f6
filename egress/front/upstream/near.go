package upstream

import (
	"math"
	"net/netip"
	"time"

	"github.com/byway-proxy/byway/egress/front/place"
)

// Near says how [Nearest] finds the server that is nearest to a client.
type Near struct {
	// Country returns the ISO 3166-1 code of where an address is, or "" if that is not known.
	Country func(netip.Addr) string

	// PinHeader and PinCookie, if not empty, are the names of those by which a request says the region that it wants. It
	// gets it as long as a server of that region can take it.
	PinHeader, PinCookie string

	// Spill is how much of a server's Limit may be used, as a share, before requests
	// go to the next nearest; 0 means all.
	Spill float64
}

// A seen is the latency of a server for the clients of a country.
type seen struct {
	mean float64 // milliseconds until the head of a response
	n    float64 // how many answers that is of, up to enough
	at   time.Time
}

// weight is n as far as it is remembered: a server that was slow is looked at again in time.
func (v seen) weight(now time.Time) float64 {
	return v.n * math.Exp(-float64(now.Sub(v.at))/float64(remembered))
}

const (
	believed   = 8.0 // answers that weigh as much as the map does
	enough     = 64.0
	perKM      = 0.01 // milliseconds there and back, by light in glass
	remembered = 5 * time.Minute
	explored   = 32 // every so many requests look whether another server is nearer than it seems
)

// nearest returns the server that promises the soonest answer to a client's country: by distance at first, then by what answers
// took. The pool is locked.
func (p *Pool) nearest(fit []*Server, w Wish, now time.Time) *Server {
	fit = p.pinned(fit, w)
	fit = p.unspilled(fit)
	from, known := place.Of(w.country)
	if !known {
		return p.twoChoices(fit, now)
	}
	best := fit[0]
	for _, s := range fit[1:] {
		if p.promise(s, w.country, from, now) < p.promise(best, w.country, from, now) {
			best = s
		}
	}
	if p.turn++; p.turn%explored == 0 {
		if s := unknown(fit, best, w.country, from, now); s != nil {
			return s
		}
	}
	// Those of the same region are as near.
	return p.twoChoices(sameRegion(fit, best), now)
}

// country returns where the client is, as far as that is known.
func (p *Pool) country(w Wish) string {
	if p.set.Near.Country == nil || !w.Client.IsValid() {
		return ""
	}
	return p.set.Near.Country(w.Client)
}

// pinned returns the servers of the region that a request asks for, or all if it asks for none that is there.
func (p *Pool) pinned(fit []*Server, w Wish) []*Server {
	region := ""
	if name := p.set.Near.PinHeader; name != "" {
		region = w.Request.Header.Get(name)
	}
	if name := p.set.Near.PinCookie; name != "" && region == "" {
		if c, err := w.Request.Cookie(name); err == nil {
			region = c.Value
		}
	}
	if region == "" {
		return fit
	}
	if of := sameRegion(fit, &Server{Region: region}); len(of) > 0 {
		return of
	}
	return fit
}

// sameRegion returns those of fit that are of the region of s, or s alone if it has none.
func sameRegion(fit []*Server, s *Server) (all []*Server) {
	for _, other := range fit {
		if other == s || s.Region != "" && other.Region == s.Region {
			all = append(all, other)
		}
	}
	return all
}

// unspilled returns those of fit that have room enough, or all if none has.
func (p *Pool) unspilled(fit []*Server) []*Server {
	spill := p.set.Near.Spill
	if spill <= 0 || spill >= 1 {
		return fit
	}
	var all []*Server
	for _, s := range fit {
		if s.Limit == 0 || float64(s.active) < spill*float64(s.Limit) {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return fit
	}
	return all
}

// away is the time in milliseconds that the way from a place to s costs, or that of half the earth if it is not known where s is.
func away(s *Server, from place.Point) float64 {
	if s.At == nil {
		return 20000 * perKM
	}
	return place.Distance(from, *s.At) * perKM
}

// promise is the latency in milliseconds that s promises to clients of a country: what the way costs and the
// pool's servers need at least, and more and more what was seen.
func (p *Pool) promise(s *Server, country string, from place.Point, now time.Time) float64 {
	guess := away(s, from) + p.quickest
	v := s.seen[country]
	n := v.weight(now)
	return (believed*guess + n*v.mean) / (believed + n)
}

// unknown returns the nearest server of another region of which little is known, and which would answer sooner than best is seen
// to if only the way counted; nil if there is none.
func unknown(fit []*Server, best *Server, country string, from place.Point, now time.Time) (found *Server) {
	v := best.seen[country]
	if v.weight(now) < believed/2 {
		return nil
	}
	for _, s := range fit {
		elsewhere := s != best && (s.Region == "" || s.Region != best.Region)
		if elsewhere && s.seen[country].weight(now) < believed && away(s, from) < v.mean && (found == nil || away(s, from) < away(found, from)) {
			found = s
		}
	}
	return found
}

// saw notes what an answer took. The pool is locked.
func (p *Pool) saw(s *Server, country string, took time.Duration, now time.Time) {
	from, known := place.Of(country)
	if !known {
		return
	}
	if s.seen == nil {
		s.seen = make(map[string]seen)
	}
	ms := float64(took) / float64(time.Millisecond)
	v := s.seen[country]
	v.n, v.at = min(v.weight(now)+1, enough), now
	v.mean += (ms - v.mean) / max(min(v.n, believed), 1)
	s.seen[country] = v
	// What the quickest of them needs beside the way, lately.
	beside := math.Max(v.mean-away(s, from), 0)
	if p.quickestOf == nil || p.quickestOf == s || beside < p.quickest {
		p.quickest, p.quickestOf = beside, s
	}
}
