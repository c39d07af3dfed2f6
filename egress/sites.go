package egress

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"os"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress/front"
	"github.com/byway-proxy/byway/egress/front/upstream"
	"github.com/byway-proxy/byway/route"
)

// A Website is the sites of a configuration, with what runs in the background for them.
type Website struct {
	http.Handler
	proxies []*front.Proxy
}

// Close ends upgraded connections and what runs in the background. Requests fail from
// then on.
func (w *Website) Close() {
	for _, p := range w.proxies {
		p.Close()
	}
}

// A WayBehind is how the servers behind a website are reached and found.
type WayBehind struct {
	Dial     upstream.Dial
	Resolver upstream.Resolver // of names that are followed
}

// NewWebsite builds the sites that c describes; way leads to the servers behind them, whose changes
// trace, which may be nil, is told. Errors have their place in the file.
func NewWebsite(c *configs.Egress, way WayBehind, trace *upstream.Trace) (*Website, error) {
	b := siteBuilder{c: c, way: way, trace: trace}
	var sites []front.Site
	for i := range c.Sites {
		s, path := &c.Sites[i], at("site", i)
		h, err := b.site(s, path)
		if err != nil {
			b.close()
			return nil, err
		}
		sites = append(sites, front.Site{Hosts: s.Hosts, Handler: h})
	}
	h, err := front.Sites(sites)
	if err != nil {
		b.close()
		return nil, c.Errorf("site", "%w", err)
	}
	return &Website{&front.Persona{Site: h}, b.proxies}, nil
}

type siteBuilder struct {
	c     *configs.Egress
	way   WayBehind
	trace *upstream.Trace

	countries *route.CountryDB // once it is wanted
	proxies   []*front.Proxy
}

func (b *siteBuilder) close() { (&Website{proxies: b.proxies}).Close() }

func (b *siteBuilder) site(s *configs.Site, path string) (http.Handler, error) {
	h, err := b.answer(&s.SiteAnswer, s, path)
	if err != nil {
		return nil, err
	}
	var paths []front.Path
	for i := range s.Paths {
		p := &s.Paths[i]
		h, err := b.answer(&p.SiteAnswer, s, at(path+".path", i))
		if err != nil {
			return nil, err
		}
		paths = append(paths, front.Path{Match: p.Match, StripPrefix: p.StripPrefix, Handler: h})
	}
	h = front.Paths(paths, h)
	if s.ErrorPages == "" {
		return h, nil
	}
	folder, err := os.OpenRoot(s.ErrorPages)
	if err != nil {
		return nil, b.c.Errorf(path+".error_pages", "the folder cannot be opened: %w; make it, and put an error.html in it", err)
	}
	defer func() { _ = folder.Close() }()
	h, err = front.ErrorPages(h, folder.FS())
	if err != nil {
		return nil, b.c.Errorf(path+".error_pages", "the pages cannot be read: %w; put an error.html there", err)
	}
	return h, nil
}

// answer builds what answers at path, the place of a in the file.
func (b *siteBuilder) answer(a *configs.SiteAnswer, s *configs.Site, path string) (h http.Handler, err error) {
	switch {
	case a.Redirect != "":
		status := http.StatusPermanentRedirect
		if a.Status != 0 {
			status = int(a.Status)
		}
		h = front.Redirect(a.Redirect, status)
	case a.Root != "":
		if h, err = front.Directory(a.Root, codingsOf(a.Precompressed)...); err != nil {
			return nil, b.c.Errorf(path+".root", "the website's folder cannot be opened: %w; make it, and put an index.html in it", err)
		}
	case len(a.Upstreams) > 0:
		if h, err = b.proxy(a, s, path); err != nil {
			return nil, err
		}
	default:
		h = front.Status(int(a.Status))
	}
	return front.Edited(front.Compressed(h, codingsOf(a.Compress)), edits(a.RequestHeaders), edits(a.ResponseHeaders)), nil
}

func (b *siteBuilder) proxy(a *configs.SiteAnswer, s *configs.Site, path string) (http.Handler, error) {
	var origins []upstream.Origin
	for i := range a.Upstreams {
		u, place := &a.Upstreams[i], at(path+".upstream", i)
		cfg, err := upstreamTLS(u)
		if err != nil {
			return nil, b.c.Errorf(place+".ca", "cannot be used: %w", err)
		}
		origins = append(origins, upstream.Origin{
			Server: upstream.Server{
				Name: nameOf(u.URL), URL: u.URL, Weight: float64(u.Weight), Limit: int(u.MaxRequests), Region: u.Region, At: pointOf(u.At),
			},
			Follow: u.Follow,
			Client: func(addr string) (upstream.Client, error) {
				return upstream.NewClient(u.URL, addr, upstream.Options{
					Dial: b.way.Dial, TLS: cfg,
					DialLimit: a.Timeouts.Dial, ResponseLimit: a.Timeouts.Response, IdleLimit: a.Timeouts.Idle,
				})
			},
		})
	}
	set, err := b.settings(a)
	if err != nil {
		return nil, err
	}
	p := &front.Proxy{Pool: upstream.NewPool(nil, set), Trusted: s.TrustedProxies, Name: "Caddy", Tries: int(a.Balance.Tries)}
	b.proxies = append(b.proxies, p)
	if err := p.Pool.Follow(origins, b.way.Resolver, a.Timeouts.Resolve); err != nil {
		return nil, b.c.Errorf(path+".upstream", "%w", err)
	}
	for _, status := range a.Balance.RetryOn {
		p.RetryOn = append(p.RetryOn, int(status))
	}
	return p, nil
}

// nameOf is what people call the server at u.
func nameOf(u *url.URL) string {
	if u.Host == "" {
		return u.Path // a socket
	}
	return u.Host
}

func upstreamTLS(u *configs.Upstream) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: u.ServerName, MinVersion: tls.VersionTLS12}
	if cfg.ServerName == "" {
		cfg.ServerName = u.URL.Hostname()
	}
	if u.CA != "" {
		var err error
		if cfg.RootCAs, err = roots(u.CA); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

func codingsOf(all []configs.Coding) (out []string) {
	for _, c := range all {
		out = append(out, string(c))
	}
	return out
}

func edits(all []configs.HeaderEdit) (out []front.Edit) {
	kinds := map[configs.HeaderDo]front.EditKind{configs.HeaderSet: front.Set, configs.HeaderAdd: front.Add, configs.HeaderRemove: front.Remove}
	for _, e := range all {
		out = append(out, front.Edit{Do: kinds[e.Do], Name: e.Name, Value: e.Value})
	}
	return out
}
