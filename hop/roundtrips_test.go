package hop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

// legs are the round trips from the client to hop 1, from there to hop 2, and so on
// to the target: no sum of some is a sum of others.
var legs = []time.Duration{
	20 * time.Millisecond, 42 * time.Millisecond, 86 * time.Millisecond,
	10 * time.Millisecond, 174 * time.Millisecond, 350 * time.Millisecond,
}

// target is a host by its address, which SOCKS4 can say too.
const target = "192.0.2.9"

// A path has n hops in a row between the client and the target.
type path struct {
	*testnet.Network
	n    int
	hops []chain.Hop
}

// r is the round trip of the first k legs, protocols.md's Rk.
func (p *path) r(k int) (sum time.Duration) {
	for _, leg := range legs[:k] {
		sum += leg
	}
	return sum
}

// sum is R1 + … + Rk.
func (p *path) sum(k int) (sum time.Duration) {
	for i := 1; i <= k; i++ {
		sum += p.r(i)
	}
	return sum
}

// all is the round trip to the target, last that of the last leg.
func (p *path) all() time.Duration  { return p.r(p.n + 1) }
func (p *path) last() time.Duration { return legs[p.n] }

// A server serves a hop at a host, and returns the way to use it.
type server func(t *testing.T, h *testnet.Host, addr string, r *relay.Relay) chain.Hop

// newPath makes a path of SOCKS5 hops, save for the last if there is a server for it.
func newPath(t *testing.T, n int, pipeline socks.Pipeline, last server) *path {
	p := &path{Network: testnet.New(), n: n}
	names := []string{"client"}
	for k := 1; k <= n; k++ {
		names = append(names, fmt.Sprintf("hop%d", k))
	}
	names = append(names, target)
	for i, leg := range legs[:n+1] {
		p.SetDelay(names[i], names[i+1], leg/2)
	}
	for k := 1; k <= n; k++ {
		r := &relay.Relay{Router: route.Table{{To: p.Host(names[k]), Via: "direct"}}}
		t.Cleanup(func() { _ = r.Close() })
		serve := serveSOCKS(socks.Hop5, pipeline)
		if k == n && last != nil {
			serve = last
		}
		p.hops = append(p.hops, serve(t, p.Host(names[k]), names[k]+":1080", r))
	}
	return p
}

func serveSOCKS(hop func(string, socks.HopOptions) chain.Hop, pipeline socks.Pipeline) server {
	return func(t *testing.T, h *testnet.Host, addr string, r *relay.Relay) chain.Hop {
		s := &socks.Server{Relay: r}
		accept(t, h, ":1080", func(c net.Conn) { _ = s.ServeConn(t.Context(), c) })
		return hop(addr, socks.HopOptions{Pipeline: pipeline})
	}
}

func accept(t *testing.T, h *testnet.Host, port string, serve func(net.Conn)) {
	t.Helper()
	l, err := h.Listen(port)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
}

// serveTLS serves an https hop, with HTTP/2 or without.
func serveTLS(h2 bool) server {
	return func(t *testing.T, h *testnet.Host, addr string, r *relay.Relay) chain.Hop {
		cert, roots := certificate(t, addr)
		l, err := h.Listen(":1080")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
			Protocols: new(http.Protocols),
			ErrorLog:  log.New(io.Discard, "", 0),
			Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if p, err := httpproxy.Connect(w, q, relay.Request{}, httpproxy.ConnectOptions{}); err == nil {
					_ = r.Serve(q.Context(), p)
				}
			}),
		}
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetHTTP2(h2)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = srv.ServeTLS(l, "", "")
		}()
		t.Cleanup(func() {
			_ = srv.Close()
			<-done
		})
		return httpproxy.HopTLS(addr, httpproxy.HopOptions{TLS: &tls.Config{RootCAs: roots}})
	}
}

// certificate makes one for the host of addr, valid in synctest's time, and its roots.
func certificate(t *testing.T, addr string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	name, _, _ := net.SplitHostPort(addr)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// app returns the way of an app at the client's host, by a listener there and the
// chain of p's hops.
func (p *path) app(t *testing.T, early, spare bool) chain.Dialer {
	t.Helper()
	hops := append([]chain.Hop(nil), p.hops...)
	if last := len(hops) - 1; spare {
		hops[last] = chain.Spare(hops[last], chain.SpareOptions{})
	}
	c, err := chain.New(testnet.Only(t, p.Host("client"), "hop1:1080"), hops...)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay.Relay{Router: route.Table{{To: c, Via: "chain"}}}
	s := &socks.Server{Relay: r, Request: relay.Request{Listener: "l", EarlyReply: early}}
	accept(t, p.Host("client"), ":1080", func(c net.Conn) { _ = s.ServeConn(t.Context(), c) })
	t.Cleanup(func() {
		_ = r.Close()
		_ = c.Close()
	})
	d, err := chain.New(testnet.Only(t, p.Host("client"), "client:1080"), socks.Hop5("client:1080", socks.HopOptions{Pipeline: socks.Off}))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// firstByte is how long it takes from a dial to the first byte of the target, to
// which say is said first.
func firstByte(t *testing.T, d chain.Dialer, say string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	conn, err := d.DialContext(ctx, "tcp", target+":7")
	if err != nil {
		t.Error(err)
		return 0
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, say); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	return time.Since(began)
}

// modes are all ways to open a tunnel, and what each costs to the first byte of the
// answer: TCP and proxy handshakes, what is asked, and the answer.
var modes = []struct {
	name         string
	pipeline     socks.Pipeline
	last         server
	spare, early bool
	before       int // tunnels opened before
	want         func(p *path) time.Duration
}{
	// R(N+1) for TCP, a trip to each hop for its greeting and one for the request, R(N+1).
	{"serial", socks.Off, nil, false, false, 0, func(p *path) time.Duration { return p.all() + 2*p.sum(p.n) + p.all() }},
	{"serial again", socks.Off, nil, false, false, 1, func(p *path) time.Duration { return p.all() + 2*p.sum(p.n) + p.all() }},
	{"pipelined", socks.On, nil, false, false, 0, func(p *path) time.Duration { return p.all() + p.sum(p.n) + p.all() }},
	{"auto", socks.Auto, nil, false, false, 0, func(p *path) time.Duration { return p.all() + p.sum(p.n) + p.all() }},
	{"auto, learnt", socks.Auto, nil, false, false, 1, func(p *path) time.Duration { return p.all() + p.sum(p.n) + p.all() }},
	// The request goes all the way, and the last hop has to get to the target.
	{"spare", socks.On, nil, true, false, 1, func(p *path) time.Duration { return 2 * p.all() }},
	{"spare of a serial chain", socks.Off, nil, true, false, 1, func(p *path) time.Duration { return 2 * p.all() }},
	{"spare, learnt", socks.Auto, nil, true, false, 1, func(p *path) time.Duration { return 2 * p.all() }},
	// What the client says goes along with the request to the last hop.
	{"early", socks.On, nil, false, true, 0, func(p *path) time.Duration {
		return p.r(p.n) + p.sum(p.n-1) + p.all() + p.last()
	}},
	{"early, without first data", socks.Off, nil, false, true, 0, func(p *path) time.Duration { return p.all() + 2*p.sum(p.n) + p.all() }},
	{"early, spare", socks.On, nil, true, true, 1, func(p *path) time.Duration { return p.all() + p.last() }},
	{"early, not learnt", socks.Auto, nil, false, true, 0, func(p *path) time.Duration { return p.all() + p.sum(p.n) + p.all() }},
	{"early, spare, learnt", socks.Auto, nil, true, true, 1, func(p *path) time.Duration { return p.all() + p.last() }},
	// TCP and TLS with the last hop, then as with a spare.
	{"h2", socks.On, serveTLS(true), false, false, 0, func(p *path) time.Duration {
		return p.r(p.n) + p.sum(p.n-1) + p.r(p.n) + 2*p.all()
	}},
	{"h2, warm", socks.On, serveTLS(true), false, false, 1, func(p *path) time.Duration { return 2 * p.all() }},
	{"h2, early", socks.On, serveTLS(true), false, true, 0, func(p *path) time.Duration {
		return p.r(p.n) + p.sum(p.n-1) + p.r(p.n) + p.all() + p.last()
	}},
	{"h2, early, warm", socks.On, serveTLS(true), false, true, 1, func(p *path) time.Duration { return p.all() + p.last() }},
}

// TestRoundTrips holds each mode to the formulas, for chains of one to five hops.
func TestRoundTrips(t *testing.T) {
	for _, mode := range modes {
		for n := 1; n <= 5; n++ {
			t.Run(fmt.Sprintf("%s/%d", mode.name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPath(t, n, mode.pipeline, mode.last)
					accept(t, p.Host(target), ":7", echo)
					d := p.app(t, mode.early, mode.spare)
					for range mode.before {
						firstByte(t, d, "x")
						time.Sleep(5 * time.Second) // a spare is made meanwhile
					}
					if got, want := firstByte(t, d, "x"), mode.want(p); got != want {
						t.Errorf("took %v, want %v", got, want)
					}
				})
			})
		}
	}
}

func echo(c net.Conn) {
	if _, err := io.Copy(c, c); err == nil {
		_ = chain.CloseWrite(c)
	}
	_ = c.Close()
}
