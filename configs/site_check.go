package configs

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// checkSites reports what is wrong with sites, and between them.
func (e *Egress) checkSites(d *decoder) {
	taken := make(map[string]string) // hosts, lower case, and the path of where they are
	for i := range e.Sites {
		s, path := &e.Sites[i], at("site", i)
		s.check(d, path)
		hosts := s.Hosts
		if len(hosts) == 0 && !d.failed[join(path, "host")] {
			hosts = []string{""}
		}
		for j, host := range hosts {
			place := path
			if host != "" {
				place = d.nth(join(path, "host"), j)
			}
			key := strings.ToLower(host)
			switch first, ok := taken[key]; {
			case ok && host == "":
				d.fail(place, "has no host, as the one on line %d, and one site alone is that of all other hosts; give one of them a host", d.line(first))
			case ok:
				d.fail(place, "%q is the host of the site on line %d already; remove one of the two", host, d.line(first))
			default:
				taken[key] = place
			}
		}
	}
}

// nth is the path of a list's element, or of the value that stands for it.
func (d *decoder) nth(list string, i int) string {
	if path := at(list, i); d.has(path) {
		return path
	}
	return list
}

func (s *Site) check(d *decoder, path string) {
	for i, host := range s.Hosts {
		if place := d.nth(join(path, "host"), i); host != "" && !isHost(host) {
			d.fail(place, `%q is neither a DNS name nor an IP address; write it like "www.example.org" or "*.example.org"`, host)
		}
	}
	s.SiteAnswer.check(d, path)
	for i := range s.Paths {
		place := at(join(path, "path"), i)
		s.Paths[i].check(d, place)
		if j := slices.IndexFunc(s.Paths[:i], func(p SitePath) bool { return p.covers(s.Paths[i].Match) }); j >= 0 {
			d.fail(join(place, "match"), "%q is never reached: the one on line %d fits all that it fits; put it before that",
				s.Paths[i].Match, d.line(join(at(join(path, "path"), j), "match")))
		}
	}
}

func (p *SitePath) check(d *decoder, path string) {
	match := join(path, "match")
	switch m := p.Match; {
	case m == "" || d.failed[match]:
	case strings.Count(m, "*") > 1 || strings.Contains(m, "*") && !strings.HasPrefix(m, "*") && !strings.HasSuffix(m, "/*"):
		d.fail(match, `%q has "*" where it can't be; write "/exact", "/below/*" or "*.suffix"`, m)
	case !strings.HasPrefix(m, "/") && !strings.HasPrefix(m, "*"):
		d.fail(match, `%q does not start with "/"; write "/exact", "/below/*" or "*.suffix"`, m)
	case strings.Contains(m, "//") || strings.Contains(m, "/./") || strings.Contains(m, "/../"):
		d.fail(match, `%q fits no path, as "//", "." and ".." are resolved before; write it without`, m)
	case p.StripPrefix && !strings.HasSuffix(m, "/*"):
		d.fail(join(path, "strip_prefix"), `is for a match such as "/below/*"; remove it`)
	}
	p.SiteAnswer.check(d, path)
}

// covers reports whether p fits whatever match fits.
func (p *SitePath) covers(match string) bool {
	below, ok := strings.CutSuffix(p.Match, "*")
	return p.Match != "" && (match == p.Match || ok && strings.HasPrefix(match, below) && match != "")
}

func (a *SiteAnswer) check(d *decoder, path string) {
	root, up, to := d.has(join(path, "root")), d.has(join(path, "upstream")), d.has(join(path, "redirect"))
	status := d.has(join(path, "status"))
	switch n := count(root, up, to); {
	case root && up:
		d.fail(path, "has both root and upstream; keep one of them")
	case n > 1:
		d.fail(join(path, "redirect"), "stands beside root or upstream; keep one of them")
	case n == 0 && !status:
		d.fail(path, `has neither root nor upstream; add root = "folder" or upstream = "http://127.0.0.1:8080"`)
	case status && (root || up):
		d.fail(join(path, "status"), "is of a redirect, or of an answer without content; remove it")
	case status && to && !d.failed[join(path, "status")] && (a.Status < 300 || a.Status > 399 || a.Status == 304):
		d.fail(join(path, "status"), "%d is not that of a redirect; write 301, 302, 303, 307 or 308", a.Status)
	case status && a.Status < 200:
		d.fail(join(path, "status"), "%d is of no final answer; write a number from 200 to 599", a.Status)
	}
	if place := join(path, "redirect"); to && !d.failed[place] && !isRedirect(a.Redirect) {
		d.fail(place, `is neither an http or https URL nor a path; write it like "https://www.example.org{path}"`)
	}
	if pre := join(path, "precompressed"); d.has(pre) && !root {
		d.fail(pre, "is about files, and there is no root; remove it")
	}
	for key, codings := range map[string][]Coding{"compress": a.Compress, "precompressed": a.Precompressed} {
		for i, c := range codings {
			if c != "" && slices.Contains(codings[:i], c) {
				d.fail(at(join(path, key), i), "%q stands there twice; remove one", c)
			}
		}
	}
	a.checkBalance(d, path)
	for i := range a.Upstreams {
		a.Upstreams[i].check(d, d.nth(join(path, "upstream"), i))
	}
}

// isRedirect reports whether s is where a client can be sent.
func isRedirect(s string) bool {
	u, err := url.Parse(strings.ReplaceAll(s, "{path}", "/"))
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return false
	}
	isURL := err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
	isPath := err == nil && u.Host == "" && u.Scheme == "" && strings.HasPrefix(u.Path, "/")
	return isURL || isPath
}

// count returns how many are true.
func count(all ...bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}

func (u *Upstream) check(d *decoder, path string) {
	place := path
	if d.has(join(path, "url")) {
		place = join(path, "url")
	}
	if u.URL == nil {
		return
	}
	switch u.URL.Scheme {
	case "http", "https", "h2c", "http+unix", "https+unix", "h2c+unix":
	case "http+srv", "https+srv", "h2c+srv":
		if u.URL.Port() != "" {
			d.fail(place, "has a port, which SRV records give; leave it out")
		}
	default:
		d.fail(place, "scheme %q is not known; write http, https or h2c", u.URL.Scheme)
	}
	if u.URL.User != nil {
		d.fail(place, "has credentials, which a site does not take; leave them out")
	}
	if _, err := netip.ParseAddr(u.URL.Hostname()); u.Follow && (err == nil || strings.HasSuffix(u.URL.Scheme, "+unix")) {
		d.fail(join(path, "follow"), "is of no use without a name to look up; remove it")
	}
	for _, key := range []string{"server_name", "ca"} {
		if d.has(join(path, key)) && !strings.HasPrefix(u.URL.Scheme, "https") {
			d.fail(join(path, key), "is of no use without TLS; it is for https")
		}
	}
	if u.ServerName != "" && !isHost(u.ServerName) {
		d.fail(join(path, "server_name"), `%q is neither a DNS name nor an IP address; write it like "www.example.org"`, u.ServerName)
	}
}
