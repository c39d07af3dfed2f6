package front

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// A Path is what answers for a part of a site.
type Path struct {
	// Match is "/exact", "/below/*" or "*.suffix". It is held against the path as it
	// is meant: decoded, without "." and "..", each run of slashes one. So nothing
	// can be had by another spelling than that which was thought of.
	Match string

	// StripPrefix takes what comes before the "*" of "/below/*" off the path that
	// Handler sees.
	StripPrefix bool

	Handler http.Handler
}

// Paths returns what leads each request to the first of paths that fits, or to rest.
func Paths(paths []Path, rest http.Handler) http.Handler {
	if len(paths) == 0 {
		return rest
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		meant := Meant(r.URL.Path)
		for i := range paths {
			if p := &paths[i]; p.fits(meant) {
				if p.StripPrefix {
					r = stripped(r, strings.TrimSuffix(p.Match, "/*"), meant)
				}
				p.Handler.ServeHTTP(w, r)
				return
			}
		}
		rest.ServeHTTP(w, r)
	})
}

// Meant returns the path that a decoded path comes to.
func Meant(p string) string {
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

func (p *Path) fits(meant string) bool {
	if suffix, ok := strings.CutPrefix(p.Match, "*"); ok {
		return strings.HasSuffix(meant, suffix)
	}
	if below, ok := strings.CutSuffix(p.Match, "*"); ok {
		return strings.HasPrefix(meant, below)
	}
	return meant == p.Match
}

// stripped returns r without prefix, which its path, as it is meant, begins with. The
// spelling stays, unless the prefix itself is spelt oddly.
func stripped(r *http.Request, prefix, meant string) *http.Request {
	u := *r.URL
	raw, ok := strings.CutPrefix(u.EscapedPath(), (&url.URL{Path: prefix}).EscapedPath())
	decoded, err := url.PathUnescape(raw)
	if !ok || err != nil || Meant(decoded) != meant[len(prefix):] {
		decoded, raw = meant[len(prefix):], ""
	}
	u.Path, u.RawPath = decoded, raw
	out := *r
	out.URL = &u
	return &out
}
