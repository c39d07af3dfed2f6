package configs

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// EgressACME is an authority that gives certificates by ACME (RFC 8555). Its zero value is
// none: Directory is empty then, and only then.
type EgressACME struct {
	Email     string `toml:"email"`     // by which it reaches the owner; may be empty
	Directory string `toml:"directory"` // https URL; default Let's Encrypt's, if there is a [tls.acme]
	CA        string `toml:"ca,path"`   // PEM file of who vouches for its own server; default the system's
}

// letsEncrypt is the directory of Let's Encrypt.
const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

func (l *EgressListener) checkHTTPPort(d *decoder, path string) {
	if l.HTTPPort == 0 {
		return
	}
	if l.Plain {
		d.fail(path, "leads to https, and this listener is plain; remove one of the two")
		return
	}
	if _, port, err := net.SplitHostPort(l.Address); err == nil && port == strconv.Itoa(int(l.HTTPPort)) {
		d.fail(path, "is the port of https itself; give another, such as 80")
	}
}

// checkACME checks that an authority can be asked, and can find its answers.
func (e *Egress) checkACME(d *decoder) {
	a := &e.TLS.ACME
	if !d.has("tls.acme") {
		return
	}
	if a.Directory == "" && !d.failed["tls.acme.directory"] {
		a.Directory = letsEncrypt
	}
	if u, err := url.Parse(a.Directory); !d.failed["tls.acme.directory"] && (err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil) {
		d.fail("tls.acme.directory", `is not the URL of an authority; write it like "https://acme.example/directory"`)
	}
	if a.Email != "" && (strings.Count(a.Email, "@") != 1 || strings.ContainsAny(a.Email, " :,")) {
		d.fail("tls.acme.email", `is not an address of e-mail; write it like "me@example.org"`)
	}
	for i, name := range e.TLS.Names {
		path := at("tls.names", i)
		if _, err := netip.ParseAddr(name); !d.failed[path] && (err == nil || strings.HasPrefix(name, "*")) {
			d.fail(path, "%q is no single DNS name, and the authority is asked for nothing else; write the names out, or remove [tls.acme]", name)
		}
	}
	if len(e.Listeners) > 0 {
		if _, port, err := net.SplitHostPort(e.Listeners[0].Address); err == nil && port == "0" {
			d.fail(join(at("listen", 0), "address"), "is any free port, and the authority has to find this server; give the port, which it must see as 443")
		}
	}
}
