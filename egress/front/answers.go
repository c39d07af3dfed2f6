package front

import (
	"net/http"
	"strings"
)

// Redirect sends clients to a URL or a path. "{path}" in it stands for the path and query of the
// request, without the slash in front if one precedes it already. No scheme but http and https comes about so.
func Redirect(to string, status int) http.Handler {
	before, after, hasPath := strings.Cut(to, "{path}")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		location := to
		if hasPath {
			uri := r.URL.RequestURI()
			if !strings.HasPrefix(uri, "/") {
				uri = "/" // "*", or what a CONNECT has
			}
			if strings.HasSuffix(before, "/") || before == "" {
				// "//host" would be another host's.
				uri = strings.TrimLeft(uri, "/")
				if before == "" {
					uri = "/" + uri
				}
			}
			location = before + strings.ReplaceAll(uri, `\`, "%5C") + after
		}
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	})
}

// Status answers all requests with a status and no content.
func Status(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fail(w, status) })
}
