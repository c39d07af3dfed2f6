package httpproxy

import (
	"context"
	"net"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// Limits of the conns that are kept for further requests.
const (
	maxIdentities  = 128
	maxIdle        = 32 // conns of one identity
	maxIdlePerHost = 6
	idleTarget     = time.Minute
	continueLimit  = time.Second // the wait for a target's 100 (Continue)
	maxTargetHead  = 256 << 10   // bytes
)

// An identity is whose requests may share conns to targets. What differs in any
// part has its own: a target must not learn that two clients are behind one proxy,
// and a conn opened by one route must not carry what is routed otherwise.
type identity struct {
	chain.Identity // but for the Target
	via, rule      string
	dialer         any // nil where it can't be compared
}

func identityOf(r *relay.Relay, q relay.Request, d relay.Decision) identity {
	meant := q.Meant(d)
	id := identity{Identity: r.Identity(&meant), via: d.Via, rule: d.Rule}
	id.Target = ""
	if reflect.ValueOf(d.Dialer).Comparable() {
		id.dialer = d.Dialer
	}
	return id
}

// targets holds the conns to targets, by identity. Its zero value is ready.
type targets struct {
	mu   sync.Mutex
	pool map[identity]*target
}

type target struct {
	transport *http.Transport
	used      time.Time
}

// routed is a request and where it goes.
type routed struct {
	relay.Request
	relay.Decision
	whole bool // it has no body: it is in hand, and may go along with its dial
}

type requestKey struct{} // of a routed

// of returns the transport for requests such as q, routed as d. It dials by relay.
func (t *targets) of(r *relay.Relay, q relay.Request, d relay.Decision) *http.Transport {
	id := identityOf(r, q, d)
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.pool[id]
	if one == nil {
		if t.pool == nil {
			t.pool = make(map[identity]*target)
		}
		t.evict()
		one = &target{transport: newTargetTransport(r)}
		t.pool[id] = one
	}
	one.used = time.Now()
	return one.transport
}

// evict makes room for one more; mu is held.
func (t *targets) evict() {
	if len(t.pool) < maxIdentities {
		return
	}
	var oldest identity
	var at time.Time
	for id, one := range t.pool {
		if at.IsZero() || one.used.Before(at) {
			oldest, at = id, one.used
		}
	}
	t.pool[oldest].transport.CloseIdleConnections()
	delete(t.pool, oldest)
}

func (t *targets) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range t.pool {
		one.transport.CloseIdleConnections()
	}
	t.pool = nil
}

func newTargetTransport(r *relay.Relay) *http.Transport {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			// The request that made the transport dial; it may be served by another's conn
			// of the same identity meanwhile.
			q, ok := ctx.Value(requestKey{}).(routed)
			if !ok || q.Request.Addr != addr {
				return nil, errNoRequest
			}
			if q.whole {
				return r.DialAhead(ctx, q.Request, q.Decision)
			}
			return r.Dial(ctx, q.Request, q.Decision)
		},
		Protocols:              new(http.Protocols),
		DisableCompression:     true,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTarget,
		ExpectContinueTimeout:  continueLimit,
		MaxResponseHeaderBytes: maxTargetHead,
	}
	t.Protocols.SetHTTP1(true)
	return t
}
