package upstream

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
)

// ErrNone says that no server can take a request.
var ErrNone = errors.New("no server can take the request")

// A Server is one of the servers behind a site.
type Server struct {
	URL    *url.URL // see [NewClient]; its path precedes that of requests
	Client Client
}

// A Pool is the servers that share the requests of a site.
type Pool struct {
	servers []*Server
	next    atomic.Uint64
}

// NewPool returns a pool of servers.
func NewPool(servers []*Server) *Pool { return &Pool{servers: servers} }

// Pick returns the server that is to take r, other than those that were tried.
func (p *Pool) Pick(_ *http.Request, tried []*Server) (*Server, error) {
	for range p.servers {
		s := p.servers[p.next.Add(1)%uint64(len(p.servers))]
		if !slices.Contains(tried, s) {
			return s, nil
		}
	}
	return nil, ErrNone
}

// Close ends what runs in the background, and closes connections that are not in use.
func (p *Pool) Close() {
	for _, s := range p.servers {
		s.Client.Close()
	}
}
