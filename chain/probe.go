package chain

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Probe tells by a small tunnel of its own whether a member works, from end to
// end. It takes a real path to Target: whoever runs that sees the exits.
//
// A member is probed once per Every, give or take a fifth, unless real traffic
// proved it alive since (with Fastest, it is probed nonetheless: only probes are
// comparable). One that is marked dead is probed when its time comes; traffic
// goes there again only when that succeeded, or when all are dead. A group that
// was not used for ten times Every is not probed until it is used again.
type Probe struct {
	Target string        // host:port to connect to, or an http or https URL to GET; "" for none
	Status int           // the status expected of a URL; 0 means any of 200 to 399
	TLS    *tls.Config   // for https; nil means the system's roots
	Every  time.Duration // 0 means one minute
	Limit  time.Duration // for one probe; 0 means 10 s

	url  *url.URL // nil for host:port
	addr string
}

const firstProbe = time.Second // within which after the first use a member is first probed

func (p *Probe) on() bool { return p.Target != "" }

// prepare checks p and fills in its defaults.
func (p *Probe) prepare() error {
	if p.Every <= 0 {
		p.Every = time.Minute
	}
	if p.Limit <= 0 {
		p.Limit = 10 * time.Second
	}
	if !p.on() {
		return nil
	}
	bad := errors.New("the probe's target is neither host:port nor an http or https URL")
	p.addr = p.Target
	if !strings.Contains(p.Target, "://") {
		host, port, err := net.SplitHostPort(p.Target)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || host == "" {
			return bad
		}
		return nil
	}
	u, err := url.Parse(p.Target)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return bad
	}
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	p.url, p.addr = u, net.JoinHostPort(u.Hostname(), port)
	return nil
}

// run probes by way of d.
func (p *Probe) run(ctx context.Context, d Dialer) error {
	ctx, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing was written that could be lost
	if p.url == nil {
		return nil
	}
	return Handshake(ctx, conn, 0, func() error {
		if p.url.Scheme == "https" {
			cfg := p.TLS.Clone()
			if cfg == nil {
				cfg = &tls.Config{MinVersion: tls.VersionTLS12}
			}
			if cfg.ServerName == "" {
				cfg.ServerName = p.url.Hostname()
			}
			return p.get(ctx, tls.Client(conn, cfg))
		}
		return p.get(ctx, conn)
	})
}

// get asks for the URL over conn. It is no http.Client's task: that would keep
// goroutines and conns of its own, and follow redirects.
func (p *Probe) get(ctx context.Context, conn net.Conn) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url.String(), http.NoBody)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "") // none
	r.Close = true
	if err := r.Write(conn); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), r) //nolint:bodyclose // that would read it all; the conn is closed instead
	if err != nil {
		return err
	}
	s := resp.StatusCode
	if s == p.Status || p.Status == 0 && 200 <= s && s < 400 {
		return nil
	}
	return fmt.Errorf("the probe was answered with status %d", s)
}

// watch starts the probing, unless that was done or the group is closed.
func (g *group) watch() {
	if !g.Probe.on() {
		return
	}
	g.start.Do(func() {
		g.closing.Lock()
		defer g.closing.Unlock()
		if g.probes.Err() != nil {
			return
		}
		g.used.Store(g.now())
		for _, m := range g.members {
			g.probing.Go(func() { g.probeAll(m) })
		}
	})
}

// probeAll probes m from time to time until the group is closed.
func (g *group) probeAll(m *member) {
	within := min(firstProbe, g.Probe.Every)
	timer := time.NewTimer(time.Duration(g.Rand() * float64(within)))
	defer timer.Stop()
	for {
		select {
		case <-g.probes.Done():
			return
		case <-m.woken:
		case <-timer.C:
		}
		if g.due(m) {
			g.probe(m)
		}
		timer.Reset(g.untilProbe(m))
	}
}

// due reports whether m needs a probe now.
func (g *group) due(m *member) bool {
	now := g.now()
	if now-g.used.Load() > 10*int64(g.Probe.Every) {
		return false
	}
	if u := m.until.Load(); u != 0 {
		return now >= u
	}
	proved := m.proved.Load()
	return g.Strategy == Fastest || proved == 0 || now-proved >= int64(g.Probe.Every)*4/5
}

// untilProbe returns how long it is until m may need one.
func (g *group) untilProbe(m *member) time.Duration {
	now := g.now()
	if u := m.until.Load(); u > now {
		return time.Duration(u - now)
	}
	every := jitter(g.Probe.Every, g.Rand)
	if proved := m.proved.Load(); proved != 0 && g.Strategy != Fastest {
		if rest := every - time.Duration(now-proved); rest > 0 {
			return rest
		}
	}
	return every
}

// probe probes m once and draws the conclusion.
func (g *group) probe(m *member) {
	began := g.now()
	err := g.Probe.run(g.probes, m)
	now := g.now()
	if err == nil {
		m.alive(now)
		m.smooth(now - began)
		return
	}
	if g.probes.Err() != nil {
		return
	}
	v := dead // at HTTP, or the TLS with the target
	if e := (*Error)(nil); errors.As(err, &e) {
		_, v = g.scope.judge(err)
	} else {
		err = m.at.stamp(err)
	}
	switch v {
	case answered:
		m.alive(now)
	case dead:
		g.mark(m, now, began, err)
	case doubtful:
		g.doubt(m, now, began, err) // no other member tells: several probes must
	}
}
