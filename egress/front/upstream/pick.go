package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/http"
	"time"
)

// A Pick says which server takes a request, of those that can. All honour weights.
type Pick int

// The kinds of Pick.
const (
	// TwoChoices draws two servers and takes the one whose requests and latency promise an answer
	// sooner (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).
	TwoChoices Pick = iota
	RoundRobin
	Random
	Least   // the one with the fewest requests
	Hash    // the same for the same By; of those that leave, others take what they had, and nothing else moves
	Nearest // to the client, see [Near]
)

// choose returns one of fit, which is not empty. The pool is locked.
func (p *Pool) choose(fit []*Server, w Wish, now time.Time) *Server {
	if s := p.cookied(fit, w); s != nil {
		return s
	}
	if len(fit) == 1 {
		return fit[0]
	}
	switch p.set.Pick {
	case RoundRobin:
		return p.roundRobin(fit, now)
	case Random:
		return p.random(fit, nil, now)
	case Least:
		return p.least(fit, now)
	case Hash:
		return p.hash(fit, p.set.By(w), now)
	case Nearest:
		return p.nearest(fit, w, now)
	default:
		return p.twoChoices(fit, now)
	}
}

func (p *Pool) twoChoices(fit []*Server, now time.Time) *Server {
	if len(fit) == 1 {
		return fit[0]
	}
	a := p.random(fit, nil, now)
	b := p.random(fit, a, now)
	if p.cost(b, a, now) < p.cost(a, b, now) {
		return b
	}
	return a
}

// roundRobin spreads turns evenly, as nginx does: each server gains its weight, the one
// that has most takes the turn and pays for all.
func (p *Pool) roundRobin(fit []*Server, now time.Time) *Server {
	var best *Server
	total := 0.0
	for _, s := range fit {
		w := p.share(s, now)
		total += w
		s.current += w
		if best == nil || s.current > best.current {
			best = s
		}
	}
	best.current -= total
	return best
}

// random draws one of fit other than not.
func (p *Pool) random(fit []*Server, not *Server, now time.Time) *Server {
	total := 0.0
	for _, s := range fit {
		if s != not {
			total += p.share(s, now)
		}
	}
	at := rand.Float64() * total
	var last *Server
	for _, s := range fit {
		if s == not {
			continue
		}
		last = s
		if at -= p.share(s, now); at < 0 {
			break
		}
	}
	return last
}

// least takes turns among those that have the least.
func (p *Pool) least(fit []*Server, now time.Time) *Server {
	lowest := math.Inf(1)
	var draw [8]*Server
	equal := draw[:0]
	for _, s := range fit {
		load := float64(s.active+1) / p.share(s, now)
		switch {
		case load < lowest:
			lowest, equal = load, append(equal[:0], s)
		case load == lowest:
			equal = append(equal, s)
		}
	}
	return p.roundRobin(equal, now)
}

// cost is what s promises: its latency for each request that is at it, and one more. Of a server
// whose latency is not known it is taken to be the other's.
func (p *Pool) cost(s, other *Server, now time.Time) float64 {
	latency := s.latency.at(now)
	if latency == 0 {
		latency = other.latency.at(now)
	}
	return float64(s.active+1) * max(latency, float64(100*time.Microsecond)) / p.share(s, now)
}

// hash gives each key to the server of the highest score of the two together (rendezvous hashing:
// Thaler and Ravishankar, 1998), by weight.
func (p *Pool) hash(fit []*Server, key string, now time.Time) *Server {
	var best *Server
	most := math.Inf(-1)
	for _, s := range fit {
		h := fnv.New64a()
		_, _ = h.Write([]byte(s.Name))
		_, _ = h.Write([]byte{0})
		_, _ = h.Write([]byte(key))
		uniform := (float64(mix(h.Sum64())>>11) + 0.5) / (1 << 53)
		if score := -p.share(s, now) / math.Log(uniform); score > most {
			best, most = s, score
		}
	}
	return best
}

// mix spreads the bits of FNV, which are poor at the upper end for short keys (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func cookieOf(key []byte, name string) string {
	m := hmac.New(sha256.New, key)
	_, _ = m.Write([]byte(name))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:12])
}

// cookied returns the server of fit that the client's cookie is for, or nil.
func (p *Pool) cookied(fit []*Server, w Wish) *Server {
	if p.set.Cookie == "" {
		return nil
	}
	for _, c := range w.Request.CookiesNamed(p.set.Cookie) {
		for _, s := range fit {
			if s.cookie == c.Value {
				return s
			}
		}
	}
	return nil
}

// cookieFor returns the cookie for a client of s, unless it has it.
func (p *Pool) cookieFor(s *Server, w Wish) *http.Cookie {
	if p.set.Cookie == "" || p.cookied([]*Server{s}, w) != nil {
		return nil
	}
	return &http.Cookie{
		Name: p.set.Cookie, Value: s.cookie, Path: "/", HttpOnly: true,
		Secure: w.Request.TLS != nil, SameSite: http.SameSiteLaxMode,
	}
}
