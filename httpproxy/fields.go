package httpproxy

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// hopByHop are the fields that concern one connection (RFC 9110 §7.6.1 and what
// else is in use), and those between a client and a proxy.
var hopByHop = set("Connection", "Proxy-Connection", "Keep-Alive", "Te", "Transfer-Encoding", "Upgrade",
	"Http2-Settings", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Authentication-Info")

// identifying are the fields that tell who asks: those of proxies, and From, which
// is the mail address of a user (RFC 9110 §10.1.2). What else an app says of its
// user (User-Agent, Cookie, Referer) is the app's affair.
var identifying = set("From", "Via", "Forwarded", "X-Real-Ip", "Client-Ip", "X-Client-Ip", "True-Client-Ip",
	"X-Cluster-Client-Ip", "Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "Fastly-Client-Ip", "X-Originating-Ip",
	"X-Remote-Ip", "X-Remote-Addr", "X-Proxyuser-Ip", "X-Original-Forwarded-For", "X-Envoy-External-Address",
	"Wl-Proxy-Client-Ip", "X-Azure-Clientip", "X-Azure-Socketip", "X-Bluecoat-Via", "X-Proxy-Id")

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// removeHopByHop removes from h the fields that end here, those that Connection
// lists included.
func removeHopByHop(h http.Header) {
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			if name = strings.TrimSpace(name); name != "" {
				h.Del(name)
			}
		}
	}
	for name := range h {
		if hopByHop[name] {
			delete(h, name)
		}
	}
}

// tells reports whether a request's field of that name tells of its client or is
// between it and the proxy.
func tells(name string) bool {
	return identifying[name] || strings.HasPrefix(name, "X-Forwarded") || strings.HasPrefix(name, "Proxy-")
}

// lists reports whether the comma-separated values have token, in any case.
func lists(values []string, token string) bool {
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// framingFields may not come in a trailer section: they would be too late, and
// who merges them is misled (RFC 9110 §6.5.1).
var framingFields = set("Content-Length", "Content-Encoding", "Content-Type", "Content-Range", "Host", "Trailer",
	"Authorization", "Cookie", "Set-Cookie", "Expect", "Max-Forwards", "Cache-Control")

// mayTrail reports whether a field of that name is passed on in a trailer section.
func mayTrail(name string) bool {
	return !hopByHop[name] && !tells(name) && !framingFields[name]
}

// announced is the trailers to come, as far as they are passed on.
func announced(trailer http.Header) http.Header {
	out := make(http.Header)
	for name := range trailer {
		if mayTrail(name) {
			out[name] = nil
		}
	}
	return out
}

// copyTrailers makes dst hold what may be passed on of the trailers in src.
func copyTrailers(dst, src http.Header) {
	clear(dst)
	for name, values := range src {
		if values != nil && mayTrail(name) {
			dst[name] = values
		}
	}
}

// requestFields returns the fields of a client's request that go to the target.
func requestFields(h http.Header) http.Header {
	out := h.Clone()
	trailers := lists(out["Te"], "trailers")
	removeHopByHop(out)
	for name := range out {
		if tells(name) {
			delete(out, name)
		}
	}
	delete(out, "Host") // HTTP/2 may have it besides :authority
	if trailers {
		out["Te"], out["Connection"] = []string{"trailers"}, []string{"TE"}
	}
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = nil // so that net/http adds none
	}
	return out
}

// responseFields returns the fields of a target's response that go to the client.
func responseFields(h http.Header) http.Header {
	removeHopByHop(h)
	return h
}

// RemovedFields returns the names of the fields that no request leaves with, sorted;
// "X-Forwarded*" stands for all that begin so. Those that a request's Connection field
// lists are removed, too.
func RemovedFields() []string {
	all := append(slices.Collect(maps.Keys(hopByHop)), slices.Collect(maps.Keys(identifying))...)
	all = slices.DeleteFunc(append(all, "X-Forwarded*"), func(name string) bool {
		return name == "Te" || name == "Connection" || name == "Upgrade" || name == "Transfer-Encoding" // made anew
	})
	slices.Sort(all)
	return all
}
