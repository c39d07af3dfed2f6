package egress

import (
	"crypto/rand"
	"log/slog"
	"net/url"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress/front/upstream"
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
}

// settings returns how the upstreams of a share requests.
func (b *siteBuilder) settings(a *configs.SiteAnswer) upstream.Settings {
	key := []byte(a.Balance.StickySecret.Reveal())
	if len(key) == 0 {
		key = []byte(rand.Text())
	}
	return upstream.Settings{
		Pick: picks[a.Balance.Pick], By: hashedBy(a.Balance.By),
		Cookie: a.Balance.StickyCookie, CookieKey: key,
		SlowStart: a.Balance.SlowStart,
		Queue:     a.Balance.Queue, QueueLimit: a.Balance.QueueTimeout,
		Budget: float64(a.Balance.RetryBudget),
		Eject: upstream.Eject{
			Failures: int(a.Eject.Failures), Rate: float64(a.Eject.Rate), Time: a.Eject.Time, Share: float64(a.Eject.Share),
		},
		Health: b.health(&a.Health),
		Trace:  b.trace,
	}
}

func (b *siteBuilder) health(h *configs.SiteHealth) upstream.Health {
	if h.Path == "" && !h.Connect {
		return upstream.Health{}
	}
	out := upstream.Health{
		Host: h.Host, Status: int(h.Status), Body: h.Body,
		Interval: h.Interval, Timeout: h.Timeout, Rise: int(h.Rise), Fall: int(h.Fall), Dial: b.dial,
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
