package front

import (
	"fmt"
	"net"
	"net/http"
	"strings"
)

// A Site is a website and the names by which it is asked for.
type Site struct {
	// Hosts are names as "www.example.org", as "*.example.org" for any one label before that,
	// or IP addresses. Without any it is the site of all hosts that no other has.
	Hosts   []string
	Handler http.Handler
}

// Sites returns what serves each site to those who ask for one of its hosts. To
// those who ask for none it gives an empty 200, as Caddy does.
func Sites(sites []Site) (http.Handler, error) {
	if len(sites) == 1 && len(sites[0].Hosts) == 0 {
		return sites[0].Handler, nil
	}
	s := byHost{hosts: make(map[string]http.Handler)}
	for _, site := range sites {
		if len(site.Hosts) == 0 {
			if s.rest != nil {
				return nil, fmt.Errorf("front: two sites have no host")
			}
			s.rest = site.Handler
		}
		for _, host := range site.Hosts {
			key := strings.ToLower(host)
			if s.hosts[key] != nil {
				return nil, fmt.Errorf("front: two sites have the host %q", host)
			}
			s.hosts[key] = site.Handler
		}
	}
	return s, nil
}

type byHost struct {
	hosts map[string]http.Handler // lower case
	rest  http.Handler            // nil if there is none
}

func (s byHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := hostOf(r.Host)
	h := s.hosts[host]
	if _, domain, ok := strings.Cut(host, "."); h == nil && ok {
		h = s.hosts["*."+domain]
	}
	if h == nil {
		h = s.rest
	}
	if h != nil {
		h.ServeHTTP(w, r)
	}
}

// hostOf returns the host of a Host field without port and brackets, in lower case.
func hostOf(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(host)
}
