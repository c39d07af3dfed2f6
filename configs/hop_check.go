package configs

import (
	"net/url"
	"slices"
	"strings"
)

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
	if !h.OverUnix() {
		if h.URL.Path != "" && h.URL.Path != "/" {
			d.fail(place, "has a path; end the URL after the host and port")
		}
		h.URL.Path, h.URL.RawPath = "", ""
	}
	h.credentials(d, path)
	h.base(d, path)
	only := func(key, schemes string) {
		if d.has(join(path, key)) {
			d.fail(join(path, key), "is of no use to %s; it is for %s", h.URL.Scheme, schemes)
		}
	}
	if h.URL.Scheme != "https" && h.URL.Scheme != "h3" {
		only("tls", "https and h3")
	}
	if h.URL.Scheme != "https" {
		only("http3", "https")
		only("padding", "https")
	}
	if h.Padding && h.HTTP3 {
		d.fail(join(path, "padding"), "is for HTTP/2, and http3 is on; keep one of the two")
	}
	if !isSOCKS5(h.URL) {
		only("pipeline", "socks5 and socks5h")
	}
	if h.URL.Scheme == "ssh" {
		h.ssh(d, path)
	} else {
		only("ssh", "ssh")
	}
}

func isSOCKS5(u *url.URL) bool { return strings.HasPrefix(u.Scheme, "socks5") }

// reaching returns the keys of h that are about how this machine reaches it.
func (h *Hop) reaching() []string {
	var keys []string
	for key, set := range map[string]bool{
		"interface": h.Interface != "", "source": h.Source.IsValid(), "mark": h.Mark != 0, "tcp_congestion": h.TCPCongestion != "",
	} {
		if set {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// base checks how this machine reaches h.
func (h *Hop) base(d *decoder, path string) {
	if h.OverUnix() {
		for _, key := range h.reaching() {
			d.fail(join(path, key), "is of no use to a unix socket; remove it")
		}
		return
	}
	const most = 15 // bytes of such names in Linux
	odd := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '/' }
	for key, name := range map[string]string{"interface": h.Interface, "tcp_congestion": h.TCPCongestion} {
		if len(name) > most || strings.ContainsFunc(name, odd) {
			d.fail(join(path, key), "%q is no such name, which has up to %d characters and no spaces; correct it", name, most)
		}
	}
}

// ssh checks that the server can be known, and be logged in to.
func (h *Hop) ssh(d *decoder, path string) {
	table := join(path, "ssh")
	has := func(key string) bool { return d.has(join(table, key)) }
	if !has("known_hosts") && !has("pin") {
		d.fail(path, `nothing says which host key is the server's; add [hop.ssh] with known_hosts = "..." or pin = "SHA256:..."`)
	}
	if !has("key") && !h.SSH.Agent && !d.failed[join(table, "agent")] && !d.has(join(path, "secret")) && h.Secret.IsZero() {
		d.fail(path, `has nothing to log in with; add key = "..." or agent = true to [hop.ssh], or a secret`)
	}
	if has("passphrase") && !has("key") {
		d.fail(join(table, "passphrase"), "stands without key; add it, or remove this")
	}
}

// credentials moves those in the URL to User and Secret, and checks that there
// are whole ones and that the hop's protocol can carry them.
func (h *Hop) credentials(d *decoder, path string) {
	user, secret := join(path, "user"), join(path, "secret")
	hasUser, hasSecret := d.has(user), d.has(secret)
	if in := h.URL.User; in != nil {
		h.URL.User = nil
		_, whole := in.Password()
		for _, key := range []string{user, secret} {
			beside := key == secret && h.URL.Scheme == "ssh" && !whole // ssh://alice@host names the user alone
			if d.has(key) && !beside {
				d.fail(key, "stands beside credentials in the URL; keep them in one place")
				return
			}
		}
		h.fromURL(d, in, join(path, "url"))
		return
	}
	switch socks4, ssh := strings.HasPrefix(h.URL.Scheme, "socks4"), h.URL.Scheme == "ssh"; {
	case ssh && !hasUser:
		d.fail(join(path, "url"), "has no user, which ssh needs; write ssh://user@host:port")
	case socks4 && hasSecret:
		d.fail(secret, "is of no use to %s, which has no passwords; remove it", h.URL.Scheme)
	case hasSecret && !hasUser:
		d.fail(secret, `stands without a user; add user = "..."`)
	case hasUser && !hasSecret && !socks4 && !ssh:
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
	case h.URL.Scheme == "ssh" && (h.User == "" || hasPassword && password == ""):
		d.fail(path, "has an empty user or password; write ssh://user@host:port")
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
	case strings.HasPrefix(h.URL.Scheme, "socks4"):
		if strings.Contains(h.User, "\x00") {
			d.fail(user, "the user has a zero byte, which SOCKS4 cannot carry; choose another")
		}
	case h.URL.Scheme != "ssh" && strings.Contains(h.User, ":"):
		d.fail(user, "the user has a colon, which HTTP cannot carry; choose another")
	}
}
