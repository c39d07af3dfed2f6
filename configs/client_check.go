package configs

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// check reports what is wrong with values that are each fine by themselves.
func (c *Client) check(d *decoder) {
	for i, l := range c.Listeners {
		l.check(d, at("listen", i))
	}
	d.unique("listen", "address", elements(c.Listeners, func(l Listener) string {
		if strings.HasSuffix(l.Address, ":0") {
			return "" // another port each time
		}
		return l.Address
	}))

	hops := elements(c.Hops, func(h Hop) string { return h.Name })
	d.names("hop", hops)
	for i := range c.Hops {
		c.Hops[i].check(d, at("hop", i))
	}

	chains := elements(c.Chains, func(ch Chain) string { return ch.Name })
	d.names("chain", chains)
	for i, ch := range c.Chains {
		ch.check(d, at("chain", i), hops)
	}
	for i, r := range c.Routes {
		r.check(d, i, chains)
	}
}

// names checks the names of hops or chains, which stand in logs and messages.
func (d *decoder) names(list string, names []string) {
	for i, name := range names {
		odd := func(r rune) bool { return !unicode.IsPrint(r) }
		if strings.TrimSpace(name) != name || strings.ContainsFunc(name, odd) {
			d.fail(join(at(list, i), "name"), "has spaces around it or characters that cannot be seen; leave them out")
		}
	}
	d.unique(list, "name", names)
}

func (l Listener) check(d *decoder, path string) {
	address := join(path, "address")
	loopback := d.address(l.Address, address)
	asks := d.has(join(path, "user")) && (len(l.Users) > 0 || d.failed[join(path, "user")])
	switch {
	case asks && l.Open:
		d.fail(join(path, "open"), "stands beside users, and it means that none are asked for; remove one of the two")
	case !asks && !loopback && !l.Open && !d.failed[join(path, "open")]:
		d.fail(address, "%q can be reached from other machines and asks for no credentials; "+
			"add a [[listen.user]], or listen on 127.0.0.1, or say open = true", l.Address)
	}
	users := join(path, "user")
	d.users(users, l.Users)
	for i, u := range l.Users {
		d.short(u, join(at(users, i), "name"), join(at(users, i), "secret"))
	}
}

// short fails if SOCKS5 cannot carry the user or the secret (RFC 1929 §2).
func (d *decoder) short(u User, name, secret string) {
	const most = 255
	if len(u.Name) > most {
		d.fail(name, "is longer than the %d bytes of SOCKS5; shorten it", most)
	}
	if len(u.Secret.Reveal()) > most {
		d.fail(secret, "is longer than the %d bytes of SOCKS5; shorten it", most)
	}
}

func (h *Hop) check(d *decoder, path string) {
	d.bothOrNeither(join(path, "tls"), "certificate", "key")
	if h.URL == nil {
		return
	}
	place := join(path, "url")
	if !slices.Contains(HopSchemes(), h.URL.Scheme) {
		d.fail(place, "scheme %q is not known; %s", h.URL.Scheme,
			orElse(h.URL.Scheme, HopSchemes(), "known are "+listed(HopSchemes())))
		return
	}
	if h.URL.Path != "" && h.URL.Path != "/" {
		d.fail(place, "has a path; end the URL after the host and port")
	}
	h.URL.Path, h.URL.RawPath = "", ""
	h.credentials(d, path)
	only := func(key, schemes string) {
		if d.has(join(path, key)) {
			d.fail(join(path, key), "is of no use to %s; it is for %s", h.URL.Scheme, schemes)
		}
	}
	if h.URL.Scheme != "https" {
		only("tls", "https")
	}
	if !isSOCKS5(h.URL) {
		only("pipeline", "socks5 and socks5h")
	}
}

func isSOCKS5(u *url.URL) bool { return u.Scheme == "socks5" || u.Scheme == "socks5h" }

// credentials moves those in the URL to User and Secret, and checks that there
// are whole ones and that the hop's protocol can carry them.
func (h *Hop) credentials(d *decoder, path string) {
	user, secret := join(path, "user"), join(path, "secret")
	hasUser, hasSecret := d.has(user), d.has(secret)
	if in := h.URL.User; in != nil {
		h.URL.User = nil
		for _, key := range []string{user, secret} {
			if d.has(key) {
				d.fail(key, "stands beside credentials in the URL; keep them in one place")
				return
			}
		}
		h.fromURL(d, in, join(path, "url"))
		return
	}
	switch socks4 := strings.HasPrefix(h.URL.Scheme, "socks4"); {
	case socks4 && hasSecret:
		d.fail(secret, "is of no use to %s, which has no passwords; remove it", h.URL.Scheme)
	case hasSecret && !hasUser:
		d.fail(secret, `stands without a user; add user = "..."`)
	case hasUser && !hasSecret && !socks4:
		d.fail(user, "stands without a secret; add secret = %s", secretForms)
	default:
		h.carried(d, user, secret)
	}
}

// fromURL takes User and Secret from the userinfo of the URL at path.
func (h *Hop) fromURL(d *decoder, in *url.Userinfo, path string) {
	password, hasPassword := in.Password()
	h.User = in.Username()
	if hasPassword {
		h.Secret = NewSecret(password)
	}
	switch {
	case strings.HasPrefix(h.URL.Scheme, "socks4") && hasPassword:
		d.fail(path, "has a password, and %s knows none; remove it", h.URL.Scheme)
	case isSOCKS5(h.URL) && (h.User == "" || h.Secret.IsZero()):
		d.fail(path, "has an empty user or password, which SOCKS5 cannot carry; give both or neither")
	default:
		h.carried(d, path, path)
	}
}

// carried fails if the hop's protocol cannot carry the user or the secret,
// which stand at the given paths.
func (h *Hop) carried(d *decoder, user, secret string) {
	switch {
	case isSOCKS5(h.URL):
		d.short(User{h.User, h.Secret}, user, secret)
	case h.URL.Scheme == "socks4" || h.URL.Scheme == "socks4a":
		if strings.Contains(h.User, "\x00") {
			d.fail(user, "the user has a zero byte, which SOCKS4 cannot carry; choose another")
		}
	case strings.Contains(h.User, ":"):
		d.fail(user, "the user has a colon, which HTTP cannot carry; choose another")
	}
}

func (ch Chain) check(d *decoder, path string, hops []string) {
	if ch.Name == Direct || ch.Name == Block {
		d.fail(join(path, "name"), "%q is what a route may say instead of a chain; choose another", ch.Name)
	}
	for i, name := range ch.Hops {
		if name == "" || slices.Contains(hops, name) {
			continue
		}
		advice := orElse(name, hops, fmt.Sprintf("add a [[hop]] with name = %q", name))
		n, _ := d.find(at(join(path, "hops"), i))
		d.errs = append(d.errs, d.errorAt(n.value, d.label(path), fmt.Errorf("hop %q is not defined; %s", name, advice)))
	}
}

func (r Route) check(d *decoder, i int, chains []string) {
	path := at("route", i)
	if i > 0 {
		d.fail(path, "is never reached, as the route on line %d takes everything; remove one of the two",
			d.line(at("route", 0)))
	}
	if to := r.To; to != "" && to != Direct && to != Block && !slices.Contains(chains, to) {
		known := append([]string{Direct, Block}, chains...)
		d.fail(join(path, "to"), "chain %q is not defined; %s", to,
			orElse(to, known, fmt.Sprintf("add a [[chain]] with name = %q, or write %q or %q", to, Direct, Block)))
	}
}
