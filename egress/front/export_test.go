package front

import (
	"net/http"
	"net/netip"
)

// ForwardedFields is what an upstream is told of where r came from.
func ForwardedFields(r *http.Request, trusted []netip.Prefix) http.Header {
	h := r.Header.Clone()
	forwarded(h, r, client(r, trusted), trusted)
	return h
}

// ClientOf is whom r is for.
func ClientOf(r *http.Request, trusted []netip.Prefix) netip.Addr { return client(r, trusted).client }
