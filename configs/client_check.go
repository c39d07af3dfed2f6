package configs

import (
	"slices"
	"strings"
	"unicode"
)

// check reports what is wrong with values that are each fine by themselves.
func (c *Client) check(d *decoder) {
	c.entrances(d)
	for i, l := range c.Listeners {
		l.check(d, at("listen", i))
	}
	d.unique("listen", "address", elements(c.Listeners, func(l Listener) string {
		if strings.HasSuffix(l.Address, ":0") {
			return "" // another port each time
		}
		return l.Address
	}))

	d.names("hop", elements(c.Hops, func(h Hop) string { return h.Name }))
	for i := range c.Hops {
		c.Hops[i].check(d, at("hop", i))
	}

	d.names("chain", elements(c.Chains, func(ch Chain) string { return ch.Name }))
	d.names("group", elements(c.Groups, func(g Group) string { return g.Name }))
	if socket := "control.socket"; d.has(socket) && !c.Control.Serve && !d.failed["control.serve"] {
		d.fail(socket, "stands beside serve = false; remove one of the two")
	}
	c.Status.check(d)
	named, chains := c.named(d)
	named.check(d)
	for i := range c.Chains {
		c.Chains[i].check(d, at("chain", i))
		c.first(d, at("chain", i), &c.Chains[i])
	}
	for i := range c.Groups {
		c.Groups[i].check(d, at("group", i))
	}
	c.checkRoutes(d, chains)
	for i, f := range c.Forwards {
		f.check(d, at("forward", i), chains)
	}
	for i, n := range c.DNS {
		n.check(d, at("dns", i), chains)
	}
	c.Resolve.check(d)
	c.apart(d)
}

// names checks the names of hops, chains or groups, which stand in logs and messages.
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
	asks := d.has(join(path, "user")) && (len(l.Users) > 0 || d.failed[join(path, "user")])
	if asks && l.Open {
		d.fail(join(path, "open"), "stands beside users, and it means that none are asked for; remove one of the two")
	}
	excused := asks || l.Open || d.failed[join(path, "open")]
	if _, ok := l.Socket(); ok {
		l.checkSocket(d, path, excused)
	} else {
		d.onlySockets(path)
		if !d.address(l.Address, address) && !excused {
			d.fail(address, "%q can be reached from other machines and asks for no credentials; "+
				"add a [[listen.user]], or listen on 127.0.0.1, or say open = true", l.Address)
		}
	}
	d.isolation(l.Isolate, join(path, "isolate"))
	users := join(path, "user")
	d.users(users, elements(l.Users, func(u Login) string { return u.Name }))
	for i, u := range l.Users {
		u.check(d, at(users, i))
	}
}

// isolation checks that parts are there, each once.
func (d *decoder) isolation(parts []Part, path string) {
	if len(parts) == 0 && d.has(path) && !d.failed[path] {
		d.fail(path, `is empty, so all would share everything; write ["listener"] if all of this listener may`)
	}
	for i, p := range parts {
		if p != "" && slices.Contains(parts[:i], p) {
			d.fail(at(path, i), "%q stands there twice; remove one", p)
		}
	}
}

// short fails if SOCKS5 cannot carry the user or the secret (RFC 1929 §2).
func (d *decoder) short(u User, user, secret string) {
	const most = 255
	if len(u.Name) > most {
		d.fail(user, "is longer than the %d bytes of SOCKS5; shorten it", most)
	}
	if len(u.Secret.Reveal()) > most {
		d.fail(secret, "is longer than the %d bytes of SOCKS5; shorten it", most)
	}
}

// check fails if u has not exactly one way to log in, or one that can't be carried.
func (u *Login) check(d *decoder, path string) {
	secret, hash := join(path, "secret"), join(path, "password_hash")
	switch {
	case d.has(secret) && d.has(hash):
		d.fail(hash, "stands beside a secret; keep one of the two")
	case !d.has(secret) && !d.has(hash):
		d.fail(path, "secret is missing; add secret = %s, or a password_hash", secretForms)
	}
	d.short(User{u.Name, u.Secret}, join(path, "name"), secret)
}
