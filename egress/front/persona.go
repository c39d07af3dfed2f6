package front

import (
	"net"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// A Persona answers as the server does that the website is taken for: Caddy 2.11, whose
// HTTP and TLS are Go's, as ours are. It is what all sites of a server have in common; what
// a site answers is the site's own affair, save for Server, which a site may remove.
type Persona struct {
	Site http.Handler // a [Sites], most likely
}

// longMethod is the length in bytes of a method that Caddy has never heard of.
const longMethod = 32

func (p *Persona) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w, done := pace(w, r)
	defer done()
	w.Header()["Server"] = []string{"Caddy"}
	if code := odd(r); code != 0 {
		w.WriteHeader(code)
		return
	}
	// A backend that turns "-" into "_" could not tell these from others' fields.
	for name := range r.Header {
		if strings.ContainsAny(name, "_.") {
			delete(r.Header, name)
		}
	}
	p.Site.ServeHTTP(w, r)
}

// odd returns the status of a request that no site gets to see, or 0.
func odd(r *http.Request) int {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	switch {
	case len(r.Method) > longMethod:
		return http.StatusMethodNotAllowed
	case r.ProtoMajor == 1 && r.ProtoMinor == 1 && r.Host == "":
		return http.StatusBadRequest // RFC 9112 §3.2
	case !httpguts.ValidHostHeader(r.Host), host != "" && strings.Trim(host, ".") == "":
		return http.StatusBadRequest
	}
	return 0
}
