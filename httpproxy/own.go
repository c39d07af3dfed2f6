package httpproxy

import (
	"crypto/sha256"
	"crypto/tls"
	_ "embed"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// An ownRequest is one that is for the proxy itself, and not to be passed on.
type ownRequest struct {
	method, path string
	authority    string   // host or host:port by which the client calls us; "" if it doesn't say
	foreign      bool     // a web page asks that is none of ours
	body         bool     // it has one
	conn         net.Conn // the client's
}

// Paths of what the proxy serves itself.
const (
	pacPath  = "/proxy.pac"
	wpadPath = "/wpad.dat"
)

const ownMethods = "GET, HEAD, OPTIONS"

// own answers a request that is for the proxy. It takes no credentials, as browsers
// fetch PAC files without, and so says nothing that a client does not know: no user,
// no rule, no chain. Web pages get nothing: neither by a name of theirs that
// resolves to this address (DNS rebinding), nor across origins.
func (s *Server) own(q ownRequest) answer {
	a := s.ownAnswer(q)
	for name, value := range ownFields {
		a.fields.Set(name, value)
	}
	return a
}

func (s *Server) ownAnswer(q ownRequest) answer {
	authority, ok := s.ownAuthority(q.authority, q.conn)
	switch {
	case !ok:
		return textAnswer(http.StatusMisdirectedRequest, "this is a proxy, and no website of that name\n")
	case q.foreign:
		return textAnswer(http.StatusForbidden, "this is for those who ask directly, and for no web page\n")
	case q.method == http.MethodOptions && !q.body:
		a := textAnswer(http.StatusOK, "")
		a.fields.Set("Allow", "CONNECT, "+ownMethods)
		return a
	case q.method != http.MethodGet && q.method != http.MethodHead || q.body:
		a := textAnswer(http.StatusMethodNotAllowed, "this is a proxy: it takes "+ownMethods+" for itself\n")
		a.fields.Set("Allow", "CONNECT, "+ownMethods)
		return a
	}
	path, _, _ := strings.Cut(q.path, "?")
	switch path {
	case "/":
		return answer{http.StatusOK, http.Header{"Content-Type": {"text/html; charset=utf-8"}}, s.page(authority, q.conn)}
	case pacPath:
		return answer{http.StatusOK, http.Header{"Content-Type": {"application/x-ns-proxy-autoconfig"}}, s.pac(authority, q.conn)}
	case wpadPath:
		return textAnswer(http.StatusNotFound, "WPAD is not served here: whoever answers it first on a network decides where\n"+
			"everybody's traffic goes. Give your browser the address of "+pacPath+" instead.\n")
	}
	return textAnswer(http.StatusNotFound, "this is a proxy: it has a page at /, and "+pacPath+"\n")
}

// ownFields are on every answer to an ownRequest.
var ownFields = map[string]string{
	"Content-Security-Policy": "default-src 'none'; style-src 'sha256-" + styleSum() +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cache-Control":                "no-store",
}

// ownAuthority returns authority if it is a way to call the proxy that no stranger
// can make: the address of ours that the client reached; this machine, if that is a
// loopback address; or a name in our certificate. If it is empty, the address that
// was reached is returned.
func (s *Server) ownAuthority(authority string, conn net.Conn) (string, bool) {
	at, isTCP := conn.LocalAddr().(*net.TCPAddr)
	if authority == "" {
		if isTCP {
			authority = at.String()
		}
		return authority, isTCP
	}
	host, _, ok := splitAuthority(authority)
	if !ok {
		return "", false
	}
	loopback := !isTCP || at.IP.IsLoopback()
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return authority, loopback && ip.IsLoopback() || isTCP && ip == at.AddrPort().Addr().Unmap()
	}
	if strings.EqualFold(host, "localhost") {
		return authority, loopback
	}
	return authority, s.Certificate != nil && s.Certificate.VerifyHostname(host) == nil
}

// tlsOf returns the TLS conn that conn is or is put before, or nil.
func tlsOf(conn net.Conn) *tls.Conn {
	for {
		if c, ok := conn.(*tls.Conn); ok {
			return c
		}
		n, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		conn = n.NetConn()
	}
}

// pac is a PAC file that sends everything through the proxy at authority, and never
// any other way. Browsers log in to no SOCKS proxy, so that is not offered where
// credentials are asked for.
func (s *Server) pac(authority string, conn net.Conn) string {
	way := "PROXY " + withPort(authority, conn)
	switch {
	case tlsOf(conn) != nil:
		way = "HTTPS " + withPort(authority, conn)
	case s.SOCKS && s.Users == nil:
		way = "SOCKS5 " + withPort(authority, conn) + "; " + way
	}
	return "function FindProxyForURL(url, host) {\n  return \"" + way + "\";\n}\n"
}

// withPort is authority with its port, which browsers leave out where it is usual.
func withPort(authority string, conn net.Conn) string {
	host, port, _ := splitAuthority(authority)
	switch {
	case port != "":
	case tlsOf(conn) != nil:
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(host, port)
}

//go:embed page.html
var pageText string

// page is the page about the proxy at authority, which [splitAuthority] has found free
// of what HTML gives a meaning to.
func (s *Server) page(authority string, conn net.Conn) string {
	scheme, speaks := "http", "HTTP"
	switch {
	case tlsOf(conn) != nil:
		scheme, speaks = "https", "HTTPS"
	case s.SOCKS:
		speaks = "SOCKS5 or HTTP"
	}
	return strings.NewReplacer("{{address}}", withPort(authority, conn), "{{origin}}", scheme+"://"+authority,
		"{{scheme}}", scheme, "{{speaks}}", speaks).Replace(pageText)
}

// styleSum is the hash by which the page's style sheet is let through.
func styleSum() string {
	_, rest, _ := strings.Cut(pageText, "<style>")
	style, _, ok := strings.Cut(rest, "</style>")
	if !ok {
		panic("httpproxy: the page has no style")
	}
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// foreign reports whether the fields of a request tell that a web page asks, other
// than one of ours or the user by the address bar. Our page sends no Origin.
func foreign(fields http.Header) bool {
	for _, v := range fields["Sec-Fetch-Site"] {
		if foreignSite(v) {
			return true
		}
	}
	_, has := fields["Origin"]
	return has
}

// foreignSite reads a Sec-Fetch-Site field (W3C Fetch Metadata §2.3).
func foreignSite(value string) bool { return value != "same-origin" && value != "none" }
