package front

import (
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
)

// perConnection are the fields that are between two neighbours (RFC 9110 §7.6.1), and
// what a client says to a proxy.
var perConnection = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
}

// dropPerConnection removes from h what does not go further.
func dropPerConnection(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				delete(h, textproto.CanonicalMIMEHeaderKey(name))
			}
		}
	}
	for _, name := range perConnection {
		delete(h, name)
	}
}

// forwarding are the fields that tell of a request's way.
var forwarding = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server",
	"X-Forwarded-Prefix", "X-Forwarded-Ssl", "X-Forwarded-Scheme", "X-Real-Ip", "X-Client-Ip", "Client-Ip", "True-Client-Ip", "X-Cluster-Client-Ip",
	"X-Original-Url", "X-Rewrite-Url", // believed by some frameworks in place of the path
}

// A peer is who sent a request, and whom it is for.
type peer struct {
	conn   netip.Addr // the other end of the connection, invalid if unknown
	client netip.Addr // as far as those in between are believed
}

// client finds out whom r is for: the peer, unless it is one of trusted, which is believed
// what X-Forwarded-For says of who came to it, and so on towards the client.
func client(r *http.Request, trusted []netip.Prefix) peer {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return peer{}
	}
	p := peer{addr.Unmap(), addr.Unmap()}
	if len(trusted) == 0 {
		return p
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0 && trusts(trusted, p.client); i-- {
		a, err := netip.ParseAddr(textproto.TrimString(hops[i]))
		if err != nil {
			break
		}
		p.client = a.Unmap()
	}
	return p
}

func trusts(trusted []netip.Prefix, a netip.Addr) bool {
	for _, p := range trusted {
		if p.Contains(a.WithZone("")) {
			return true
		}
	}
	return false
}

// forwarded sets in h, the header of a request on its way to an upstream, what it
// is told of where r came from. What r says of that itself stands only if it comes
// from a trusted peer.
func forwarded(h http.Header, r *http.Request, p peer, trusted []netip.Prefix) {
	believed := len(trusted) > 0 && trusts(trusted, p.conn)
	if !believed {
		for _, name := range forwarding {
			delete(h, name)
		}
		// Gateways to programs (RFC 3875 §4.1.18) make no difference between "-" and "_".
		for name := range h {
			if strings.Contains(name, "_") && slices.Contains(forwarding, textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))) {
				delete(h, name)
			}
		}
	}
	proto := "http"
	if r.TLS != nil {
		proto = "https"
	}
	if p.conn.IsValid() {
		for1 := p.conn.String()
		if prior := h["X-Forwarded-For"]; len(prior) > 0 {
			for1 = strings.Join(prior, ", ") + ", " + for1
		}
		h["X-Forwarded-For"] = []string{for1}
	}
	setDefault(h, "X-Forwarded-Proto", proto)
	setDefault(h, "X-Forwarded-Host", r.Host)
	h["Forwarded"] = []string{strings.Join(append(h["Forwarded"][:len(h["Forwarded"]):len(h["Forwarded"])], element(r, p, proto)), ", ")}
}

// quoted escapes what can't stand in a quoted string (RFC 9110 §5.6.4).
var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// element is what a proxy adds to the field Forwarded (RFC 7239 §4).
func element(r *http.Request, p peer, proto string) string {
	node := "unknown"
	if p.conn.Is4() {
		node = p.conn.String()
	} else if p.conn.IsValid() {
		node = `"[` + p.conn.WithZone("").String() + `]"`
	}
	return "for=" + node + `;host="` + quoted.Replace(r.Host) + `";proto=` + proto
}

func setDefault(h http.Header, name, value string) {
	if _, ok := h[name]; !ok {
		h[name] = []string{value}
	}
}
