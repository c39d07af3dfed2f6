package egress

import (
	"crypto/rand"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress/front/place"
	"github.com/byway-proxy/byway/egress/front/upstream"
	"github.com/byway-proxy/byway/route"
)

// UpstreamTrace logs what changes with the servers behind a website.
func UpstreamTrace(log *slog.Logger) *upstream.Trace {
	return &upstream.Trace{
		Health: func(s *upstream.Server, up bool, err error) {
			if up {
				log.Info("upstream is up", "upstream", s.Name)
			} else {
				log.Warn("upstream is down", "upstream", s.Name, "error", err)
			}
		},
		Unresolved: func(name string, err error) {
			log.Warn("upstream's name is not found; what was found last stays", "name", name, "error", err)
		},
		Ejected: func(s *upstream.Server, until time.Time) {
			log.Warn("upstream fails requests and gets none for now", "upstream", s.Name, "for", time.Until(until).Round(time.Second))
		},
	}
}

var picks = map[configs.SitePick]upstream.Pick{
	configs.SitePickTwoChoices: upstream.TwoChoices,
	configs.SitePickRoundRobin: upstream.RoundRobin,
	configs.SitePickRandom:     upstream.Random,
	configs.SitePickLeast:      upstream.Least,
	configs.SitePickHash:       upstream.Hash,
	configs.SitePickNearest:    upstream.Nearest,
}

// pointOf returns where a place is; nil if there is none, or it is of a country that is nowhere known.
func pointOf(p *configs.Place) *place.Point {
	if p == nil {
		return nil
	}
	if p.Country == "" {
		return &place.Point{Lat: p.Lat, Lon: p.Lon}
	}
	if at, ok := place.Of(string(p.Country)); ok {
		return &at
	}
	return nil
}

// near returns how the nearest upstream is found.
func (b *siteBuilder) near(a *configs.SiteAnswer) (upstream.Near, error) {
	if a.Balance.Pick != configs.SitePickNearest {
		return upstream.Near{}, nil
	}
	if b.countries == nil {
		data, err := os.ReadFile(b.c.Geo.Database)
		if err == nil {
			b.countries, err = route.NewCountryDB(data)
		}
		if err != nil {
			return upstream.Near{}, b.c.Errorf("geo.database", "cannot be used: %w; give a database of countries in MaxMind's format", err)
		}
	}
	return upstream.Near{
		Country: b.countries.Country, PinHeader: a.Balance.PinHeader, PinCookie: a.Balance.PinCookie, Spill: float64(a.Balance.Spill),
	}, nil
}

// settings returns how the upstreams of a share requests.
func (b *siteBuilder) settings(a *configs.SiteAnswer) (upstream.Settings, error) {
	near, err := b.near(a)
	if err != nil {
		return upstream.Settings{}, err
	}
	key := []byte(a.Balance.StickySecret.Reveal())
	if len(key) == 0 {
		key = []byte(rand.Text())
	}
	return upstream.Settings{
		Pick: picks[a.Balance.Pick], Near: near, By: hashedBy(a.Balance.By),
		Cookie: a.Balance.StickyCookie, CookieKey: key,
		SlowStart: a.Balance.SlowStart,
		Queue:     a.Balance.Queue, QueueLimit: a.Balance.QueueTimeout,
		Budget: float64(a.Balance.RetryBudget),
		Eject: upstream.Eject{
			Failures: int(a.Eject.Failures), Rate: float64(a.Eject.Rate), Time: a.Eject.Time, Share: float64(a.Eject.Share),
		},
		Health: b.health(&a.Health),
		Trace:  b.trace,
	}, nil
}

func (b *siteBuilder) health(h *configs.SiteHealth) upstream.Health {
	if h.Path == "" && !h.Connect {
		return upstream.Health{}
	}
	out := upstream.Health{
		Host: h.Host, Status: int(h.Status), Body: h.Body,
		Interval: h.Interval, Timeout: h.Timeout, Rise: int(h.Rise), Fall: int(h.Fall), Dial: b.way.Dial,
	}
	if h.Path != "" {
		out.URL, _ = url.Parse(h.Path) // configs has parsed it
	}
	return out
}

func hashedBy(k configs.HashKey) func(upstream.Wish) string {
	switch k.Kind {
	case configs.HashURI:
		return func(w upstream.Wish) string { return w.Request.URL.RequestURI() }
	case configs.HashHeader:
		return func(w upstream.Wish) string { return w.Request.Header.Get(k.Name) }
	case configs.HashCookie:
		return func(w upstream.Wish) string {
			if c, err := w.Request.Cookie(k.Name); err == nil {
				return c.Value
			}
			return w.Client.String() // one that has none yet
		}
	default:
		return func(w upstream.Wish) string { return w.Client.String() }
	}
}
