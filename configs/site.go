package configs

import (
	"net/netip"
	"net/url"
	"time"
)

// Site is a website that those without a credential see.
type Site struct {
	// Hosts are the names by which it is asked for: DNS names, of which the first
	// label may be "*" for any one label, or IP addresses. Without any it is the site of
	// all hosts that no other site has.
	Hosts []string `toml:"host,single"`

	SiteAnswer
	Paths []SitePath `toml:"path"` // the first that fits answers, else the site's own

	// TrustedProxies are the peers whose forwarding fields (Forwarded, X-Forwarded-*)
	// are believed; those of all others are dropped.
	TrustedProxies []netip.Prefix `toml:"trusted_proxies"`

	// ErrorPages is a folder with 404.html, 5xx.html and the like: what is
	// shown with errors that are not an upstream's own. Empty for none.
	ErrorPages string `toml:"error_pages,path"`
}

// SitePath is what answers below a part of a site.
type SitePath struct {
	Match string `toml:"match,required"` // "/exact", "/below/*" or "*.suffix"

	// StripPrefix takes what comes before the "*" of "/below/*" off the path
	// that an upstream or a folder sees.
	StripPrefix bool `toml:"strip_prefix"`

	SiteAnswer
}

// SiteAnswer says what answers requests: exactly one of Root, Upstreams, Redirect and
// Status alone is set.
type SiteAnswer struct {
	Root      string     `toml:"root,path"` // folder of static files
	Upstreams []Upstream `toml:"upstream,single"`

	// Precompressed are the codings of which files in Root have a form beside them: ".zst", ".br", ".gz".
	Precompressed []Coding `toml:"precompressed"`

	// Redirect is where requests are sent, an absolute URL or a path; "{path}" in it is the
	// request's path and query. Status is that of the redirect (308 by default), or
	// without one that of an answer without content.
	Redirect string `toml:"redirect"`
	Status   Status `toml:"status"`

	RequestHeaders  []HeaderEdit `toml:"request_headers"`  // done to what the upstream sees
	ResponseHeaders []HeaderEdit `toml:"response_headers"` // done to what the client sees
	Compress        []Coding     `toml:"compress"`         // offered, the preferred first; none by default

	// Of Upstreams.
	Balance  SiteBalance  `toml:"balance"`
	Eject    SiteEject    `toml:"eject"`
	Health   SiteHealth   `toml:"health"`
	Timeouts SiteTimeouts `toml:"timeouts"`
}

func (a *SiteAnswer) setDefaults() {
	a.Balance.setDefaults()
	a.Eject.setDefaults()
	a.Health.setDefaults()
	a.Timeouts.setDefaults()
}

// Upstream is a server behind a site.
type Upstream struct {
	// URL is where it is: http, https (HTTP/2 where offered) or h2c (HTTP/2 in the clear), all three with +unix
	// for a socket of this machine, or +srv for the name of SRV records; without credentials. A path in it precedes that of requests.
	URL *url.URL `toml:"url,required,short"`

	ServerName string `toml:"server_name"` // of https: what the certificate must be for; default the URL's host
	CA         string `toml:"ca,path"`     // of https: PEM file of who may have signed it; default the system's

	Weight      Weight `toml:"weight"`       // its share beside those of others; default 1
	MaxRequests uint   `toml:"max_requests"` // at a time; 0 for any number

	Follow bool `toml:"follow"` // each address of the URL's host is an upstream, as they change

	Region string `toml:"region"` // its name
	At     *Place `toml:"at"`     // nil if not given
}

func (u *Upstream) setDefaults() { u.Weight = 1 }

// A Coding is a content coding (RFC 9110 §8.4.1).
type Coding string

// The values of Coding.
const (
	CodingZstd   Coding = "zstd"
	CodingBrotli Coding = "br"
	CodingGzip   Coding = "gzip"
)

// SiteTimeouts are those of upstreams.
type SiteTimeouts struct {
	Dial     time.Duration `toml:"dial"`     // with TLS
	Response time.Duration `toml:"response"` // until a response's head is there; 0 for no limit
	Idle     time.Duration `toml:"idle"`     // of a connection kept for the next request
	Resolve  time.Duration `toml:"resolve"`  // from one look-up of names that are followed to the next; default 30s
}

func (t *SiteTimeouts) setDefaults() {
	t.Dial, t.Idle, t.Resolve = 5*time.Second, time.Minute, 30*time.Second
}
