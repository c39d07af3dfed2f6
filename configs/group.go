package configs

import (
	"net"
	"net/url"
	"time"
)

// A Mode says which hops of a chain a tunnel passes.
type Mode string

// The values of Mode.
const (
	ModeStrict  Mode = "strict"  // all, in order
	ModeDynamic Mode = "dynamic" // those that are alive, in order, the last at any rate
	ModeRandom  Mode = "random"  // some, drawn at random
)

// A Per says how long a draw of a random chain holds.
type Per string

// The values of Per.
const (
	PerTunnel   Per = "tunnel"
	PerIdentity Per = "identity" // as of Listener.Isolate
)

// Group is a hop's place that one of several takes, each tunnel's by itself.
type Group struct {
	Name    string   `toml:"name,required"`    // unique among hops, chains and groups; neither Direct nor Block
	Members []string `toml:"members,required"` // at least one; names of hops, chains and groups

	Strategy Strategy `toml:"strategy"` // default StrategyFirst

	// Weights, of StrategyRandom, StrategyLeastUsed and StrategySticky, are the
	// members' in their order; nil gives all the same.
	Weights []Weight `toml:"weights"`

	By        By            `toml:"by"`        // of StrategySticky; default ByTarget
	Tolerance time.Duration `toml:"tolerance"` // of StrategyFastest; default 50ms
	Probe     Probe         `toml:"probe"`     // without a Target there is none
}

func (g *Group) setDefaults() {
	g.Strategy, g.By, g.Tolerance = StrategyFirst, ByTarget, 50*time.Millisecond
}

// A Strategy says which member of a group takes a tunnel, of those that are alive.
type Strategy string

// The values of Strategy.
const (
	StrategyFirst      Strategy = "first"       // in order: the others are for when it fails
	StrategyRoundRobin Strategy = "round-robin" // one after the other
	StrategyRandom     Strategy = "random"
	StrategyFastest    Strategy = "fastest"    // the one of least latency
	StrategyLeastUsed  Strategy = "least-used" // the one with the fewest tunnels
	StrategySticky     Strategy = "sticky"     // the same for the same By
	StrategyRace       Strategy = "race"       // in order, the next soon after, and the first to be there
)

// A By is what a sticky group goes by, besides the tunnel's identity (see Listener.Isolate).
type By string

// The values of By.
const (
	ByTarget   By = "target"
	ByClient   By = "client"
	ByUser     By = "user"
	ByIdentity By = "identity" // by that alone
)

// A Weight is a member's share, beside those of the others.
type Weight uint16

// Probe is how a group finds out that a member works: by a tunnel of its own, from
// end to end.
type Probe struct {
	Target   string        `toml:"target"`   // host:port to connect to, or an http or https URL to get
	Status   Status        `toml:"status"`   // expected of a URL; 0 takes any from 200 to 399
	Interval time.Duration `toml:"interval"` // for each member; default 1m
	Timeout  time.Duration `toml:"timeout"`  // for one probe; default 10s
}

func (p *Probe) setDefaults() { p.Interval, p.Timeout = time.Minute, 10*time.Second }

// A Status is that of an HTTP response.
type Status uint16

func (g *Group) check(d *decoder, path string) {
	d.reserved(g.Name, path)
	d.onceEach(g.Members, join(path, "members"))
	only := func(key string, fits bool, strategies string) {
		if d.has(join(path, key)) && !fits {
			d.fail(join(path, key), "is of no use to strategy %q; it is for %s", g.Strategy, strategies)
		}
	}
	s := g.Strategy
	only("by", s == StrategySticky, `"sticky"`)
	only("tolerance", s == StrategyFastest, `"fastest"`)
	only("weights", s == StrategyRandom || s == StrategyLeastUsed || s == StrategySticky, `"random", "least-used" and "sticky"`)
	if weights := join(path, "weights"); d.has(weights) && len(g.Weights) != len(g.Members) && !d.failed[weights] {
		d.fail(weights, "has %d weights for %d members; give each one", len(g.Weights), len(g.Members))
	}
	g.Probe.check(d, join(path, "probe"))
}

func (p *Probe) check(d *decoder, path string) {
	target := join(path, "target")
	if d.has(path) && !d.has(target) && !d.failed[path] {
		d.fail(path, `has no target to probe; add target = "host:port" or a URL`)
	}
	if p.Target == "" {
		return
	}
	u, err := url.Parse(p.Target)
	isURL := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil &&
		(u.Port() == "" || isPort(u.Port()))
	host, port, err := net.SplitHostPort(p.Target)
	isAddress := err == nil && host != "" && isPort(port)
	switch {
	case !isURL && !isAddress:
		d.fail(target, `is neither host:port nor an http or https URL; write it like "192.0.2.7:443" or "https://example.org/"`)
	case d.has(join(path, "status")) && !isURL:
		d.fail(join(path, "status"), "is of no use to host:port, which is connected to and no more; remove it, or give a URL")
	}
}
