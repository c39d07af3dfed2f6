package configs

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// SiteBalance says which of several upstreams takes a request.
type SiteBalance struct {
	Pick SitePick `toml:"pick"` // default SitePickTwoChoices
	By   HashKey  `toml:"by"`   // of SitePickHash; default by client

	// StickyCookie is the name of a cookie by which a client comes back to its upstream. Its value is
	// made with StickySecret, or if that is empty with one that is new at each start.
	StickyCookie string `toml:"sticky_cookie"`
	StickySecret Secret `toml:"sticky_secret"`

	// Of SitePickNearest: by what a client says the region that it wants, and how much of its max_requests an
	// upstream gets before the next nearest does.
	PinHeader string `toml:"pin_header"`
	PinCookie string `toml:"pin_cookie"`
	Spill     Share  `toml:"spill"` // default 100%

	SlowStart time.Duration `toml:"slow_start"` // of an upstream that was away; default 10s

	Tries       uint     `toml:"tries"`        // upstreams that a request is sent to at most; default 3
	RetryOn     []Status `toml:"retry_on"`     // for these statuses, too
	RetryBudget Share    `toml:"retry_budget"` // of all requests; default 20%

	Queue        int           `toml:"queue"`         // requests that wait when all upstreams have max_requests; default 100
	QueueTimeout time.Duration `toml:"queue_timeout"` // default 10s
}

// SiteEject says when an upstream that fails requests gets none for a while.
type SiteEject struct {
	Failures uint          `toml:"failures"` // in a row; default 5
	Rate     Share         `toml:"rate"`     // or of the requests of the last seconds; 0 for never
	Time     time.Duration `toml:"time"`     // then twice that, and so on; default 10s
	Share    Share         `toml:"share"`    // of the upstreams at a time; default 50%
}

// SiteHealth is how upstreams are checked. With neither Path nor Connect they are not.
type SiteHealth struct {
	Path    string `toml:"path"`    // of a GET, with a query if wanted
	Connect bool   `toml:"connect"` // just a connection

	Host   string `toml:"host"`   // of the GET; default the upstream's
	Status Status `toml:"status"` // expected; 0 takes any from 200 to 399
	Body   string `toml:"body"`   // what the first 64 KiB of the answer must have in them

	Interval time.Duration `toml:"interval"` // default 10s
	Timeout  time.Duration `toml:"timeout"`  // default 5s
	Rise     uint          `toml:"rise"`     // checks in a row until it is up; default 2
	Fall     uint          `toml:"fall"`     // and until it is down; default 3
}

func (b *SiteBalance) setDefaults() {
	b.Pick, b.By, b.SlowStart = SitePickTwoChoices, HashKey{Kind: HashClient}, 10*time.Second
	b.Spill = 1
	b.Tries, b.RetryBudget, b.Queue, b.QueueTimeout = 3, 0.2, 100, 10*time.Second
}

func (e *SiteEject) setDefaults() { e.Failures, e.Time, e.Share = 5, 10*time.Second, 0.5 }

func (h *SiteHealth) setDefaults() {
	h.Interval, h.Timeout, h.Rise, h.Fall = 10*time.Second, 5*time.Second, 2, 3
}

// A SitePick says which upstream takes a request, of those that can.
type SitePick string

// The values of SitePick.
const (
	SitePickTwoChoices SitePick = "two-choices" // of two drawn, the one that promises an answer sooner
	SitePickRoundRobin SitePick = "round-robin"
	SitePickRandom     SitePick = "random"
	SitePickLeast      SitePick = "least-requests"
	SitePickHash       SitePick = "hash"
	SitePickNearest    SitePick = "nearest" // to the client
)

// A HashKey is what a request is hashed by.
type HashKey struct {
	Kind HashKind
	Name string // of a header or cookie
}

// A HashKind is a kind of [HashKey].
type HashKind string

// The values of HashKind.
const (
	HashClient HashKind = "client"
	HashURI    HashKind = "uri"
	HashHeader HashKind = "header"
	HashCookie HashKind = "cookie"
)

func parseHashKey(s string) (any, error) {
	kind, name, named := strings.Cut(s, ":")
	k := HashKey{HashKind(kind), name}
	switch k.Kind {
	case HashClient, HashURI:
		if !named {
			return k, nil
		}
	case HashHeader, HashCookie:
		if isToken(name) {
			return k, nil
		}
	}
	return nil, fmt.Errorf(`%q is nothing to go by; write "client", "uri", "header:Name" or "cookie:name"`, s)
}

// checkBalance checks what is about several upstreams.
func (a *SiteAnswer) checkBalance(d *decoder, path string) {
	balance, health := join(path, "balance"), join(path, "health")
	if len(a.Upstreams) == 0 && !d.failed[join(path, "upstream")] {
		for _, table := range []string{"balance", "eject", "health", "timeouts"} {
			if at := join(path, table); d.has(at) {
				d.fail(at, "is about upstreams, and there are none here; remove it")
			}
		}
		return
	}
	b := &a.Balance
	if by := join(balance, "by"); d.has(by) && b.Pick != SitePickHash && !d.failed[join(balance, "pick")] {
		d.fail(by, `is of no use to pick %q; it is for "hash"`, b.Pick)
	}
	if b.StickyCookie != "" && !isToken(b.StickyCookie) {
		d.fail(join(balance, "sticky_cookie"), `%q is no name of a cookie; write letters, digits, "-" and "_"`, b.StickyCookie)
	}
	if secret := join(balance, "sticky_secret"); d.has(secret) && b.StickyCookie == "" && !d.has(join(balance, "sticky_cookie")) {
		d.fail(secret, "is for sticky_cookie, which is missing; add that")
	}
	a.checkNearest(d, path)
	a.Health.check(d, health)
}

func (h *SiteHealth) check(d *decoder, path string) {
	at := func(key string) string { return join(path, key) }
	switch {
	case h.Path != "" && h.Connect:
		d.fail(at("connect"), "stands beside path; keep one of the two")
	case d.has(path) && h.Path == "" && !h.Connect && !d.failed[at("path")] && !d.failed[at("connect")] && !d.failed[path]:
		d.fail(path, `says not what to check; add path = "/" or connect = true`)
	case h.Connect:
		for _, key := range []string{"host", "status", "body"} {
			if d.has(at(key)) {
				d.fail(at(key), "is of no use to a connection; it is for path")
			}
		}
	}
	if h.Path != "" {
		u, err := url.Parse(h.Path)
		if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, "/") || strings.Contains(h.Path, "#") {
			d.fail(at("path"), `%q is not a path; write it like "/health?full=1"`, h.Path)
		}
	}
}
