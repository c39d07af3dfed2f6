// Package front is the website of an egress: what everybody without a credential
// sees. It knows nothing of tunnels.
package front

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

// Directory returns the website of the files below root, which must be a folder.
// It takes GET and HEAD. Links that lead out of root are not followed.
func Directory(root string) (http.Handler, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	files := http.FileServerFS(r.FS())
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.Method {
		case http.MethodGet, http.MethodHead:
			files.ServeHTTP(w, q)
		default:
			notAllowed(w)
		}
	}), nil
}

// Upstream returns the website that the server at target, an http or https URL,
// gives. A CONNECT is not passed on, lest the upstream be a proxy; nor are a
// client's forwarding fields, which could be anybody's invention, and what it
// says to a proxy.
func Upstream(target *url.URL) (http.Handler, error) {
	if target.Scheme != "http" && target.Scheme != "https" || target.Host == "" {
		return nil, errors.New("the upstream is not an http or https URL")
	}
	transport := &http.Transport{
		MaxIdleConnsPerHost: 64,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true,
		// Proxy stays nil: the environment has no say in where requests go.
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
			r.Out.Header.Del("Proxy-Authorization")
			r.Out.Header.Del("Proxy-Connection")
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
		ErrorLog: log.New(io.Discard, "", 0), // it would tell who asked for what
	}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodConnect {
			notAllowed(w)
			return
		}
		proxy.ServeHTTP(w, q)
	}), nil
}

func notAllowed(w http.ResponseWriter) {
	w.Header().Set("Allow", "GET, HEAD")
	w.WriteHeader(http.StatusMethodNotAllowed)
}
