package front

import (
	"net"
	"net/http"
	"strconv"
)

// ToHTTPS is what Caddy answers on its port for HTTP in the clear: it sends all requests to
// the same host by https, at port, and hangs up.
func ToHTTPS(port uint16) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if port != 443 {
			host += ":" + strconv.Itoa(int(port))
		}
		w.Header()["Connection"] = []string{"close"}
		w.Header()["Location"] = []string{"https://" + host + r.URL.RequestURI()}
		w.WriteHeader(http.StatusPermanentRedirect)
	})
}
