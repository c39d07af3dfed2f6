package hop_test

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/hop"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	user, password = "alice", "open sesame"

	nowhere = "target.example:7" // where nobody listens
)

// withinLimit is that of dials and handshakes, and a moment for what SOCKS5 finds out by
// a second conn, with its own limit.
const withinLimit = 10*time.Second + 250*time.Millisecond

// A fault is a way to break a hop.
type fault struct {
	name  string
	serve func(net.Conn)           // in place of the hop
	cert  func(*certs) *tls.Config // of a hop otherwise sound
	hole  bool                     // the hop is not there, and nothing says so
	none  bool                     // it refuses
	wrong bool                     // credential
	blind bool                     // it can't reach the target
}

var faults = []fault{
	{name: "refused", none: true},
	{name: "black hole", hole: true},
	{name: "reset mid-handshake", serve: func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_ = chain.Abort(c)
	}},
	{name: "wrong credential", wrong: true},
	{name: "garbage reply", serve: func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1024))
		_, _ = io.WriteString(c, "220 mail.example ready\r\n")
		_, _ = io.Copy(io.Discard, c)
	}},
	{name: "slow reply", serve: func(c net.Conn) {
		for _, b := range []byte("\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00") {
			time.Sleep(4 * time.Second)
			if _, err := c.Write([]byte{b}); err != nil {
				break
			}
		}
		_, _ = io.Copy(io.Discard, c)
	}},
	{name: "closes after accept", serve: func(c net.Conn) {
		_ = chain.CloseWrite(c) // a close with bytes unread would be a reset, or none, as it comes
		_, _ = io.Copy(io.Discard, c)
	}},
	{name: "TLS wrong name", cert: func(c *certs) *tls.Config { return c.elsewhere }},
	{name: "TLS expired", cert: func(c *certs) *tls.Config { return c.expired }},
	{name: "cannot reach the target", blind: true},
}

// A row is a chain of hops of one scheme, of which hop k is broken.
type row struct {
	t      *testing.T
	n      *testnet.Network
	scheme string
}

// listen returns a listener of host k of the chain, closed with the test.
func (r *row) listen(k int) net.Listener {
	l, err := r.n.Host(host(k)).Listen(":1080")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = l.Close() })
	return l
}

func host(k int) string { return fmt.Sprint("hop", k) }

// each serves the conns of l by f.
func each(l net.Listener, f func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			f(c)
		}()
	}
}

// start runs the server of hop k, sound save for its certificate.
func (r *row) start(k int, cert *tls.Config) {
	if r.scheme == "ssh" {
		startSSH(r.t, r.n.Host(host(k)))
		return
	}
	l, to := r.listen(k), &relay.Relay{Router: route.Table{{To: r.n.Host(host(k)), Via: "direct"}}}
	r.t.Cleanup(func() { _ = to.Close() })
	if r.scheme == "socks5" {
		users, err := socks.NewUsers(map[string]string{user: password})
		if err != nil {
			r.t.Fatal(err)
		}
		s := &socks.Server{Relay: to, Users: users}
		go each(l, func(c net.Conn) { _ = s.ServeConn(r.t.Context(), c) })
		return
	}
	s := &http.Server{
		TLSConfig: cert.Clone(), Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			u, p, _ := (&http.Request{Header: http.Header{"Authorization": q.Header["Proxy-Authorization"]}}).BasicAuth()
			if u != user || p != password {
				w.WriteHeader(http.StatusProxyAuthRequired)
				return
			}
			if p, err := httpproxy.Connect(w, q, relay.Request{}, httpproxy.ConnectOptions{ProxyStatus: "hop"}); err == nil {
				_ = to.Serve(q.Context(), p)
			}
		}),
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(r.scheme == "https")
	go func() { _ = s.ServeTLS(l, "", "") }()
	r.t.Cleanup(func() { _ = s.Close() })
}

// hop is hop k as the client sees it.
func (r *row) hop(k int, secret string) chain.Hop {
	scheme, _, _ := strings.Cut(r.scheme, " ")
	o := hop.Options{Name: []string{"", "oslo", "paris", "quito", "rome"}[k], User: user, Password: secret}
	switch scheme {
	case "https":
		o.TLS = &tls.Config{RootCAs: theCerts().roots}
	case "ssh":
		o.SSH.Pins = []string{ssh.FingerprintSHA256(hostKey().PublicKey())}
	}
	h, err := hop.Parse(fmt.Sprintf("%s://%s:1080", scheme, host(k)), o)
	if err != nil {
		r.t.Fatal(err)
	}
	return h
}

// broken starts n hops, of which f breaks hop k, and returns them.
func (r *row) broken(f fault, k, n int) []chain.Hop {
	through := make([]chain.Hop, n)
	for i := 1; i <= n; i++ {
		secret, cert := password, theCerts().sound
		switch {
		case i != k:
		case f.wrong:
			secret = "shut sesame"
		case f.cert != nil:
			cert = f.cert(theCerts())
		}
		through[i-1] = r.hop(i, secret)
		switch {
		case i != k || f.wrong || f.cert != nil || f.blind:
			r.start(i, cert)
		case f.hole:
			r.n.BlackHole(host(i) + ":1080")
		case f.serve != nil:
			go each(r.listen(i), f.serve)
		}
	}
	return through
}

// dial breaks hop k of n by f, and returns what comes of a dial.
func (r *row) dial(f fault, k, n int) (took time.Duration, err error) {
	c, err := chain.New(r.n.Host("client"), r.broken(f, k, n)...)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second) // what the relay gives a dial
	defer cancel()
	began := time.Now()
	conn, err := c.DialContext(ctx, "tcp", nowhere)
	if err == nil {
		_ = conn.Close()
	}
	return time.Since(began), err
}

// TestFaults breaks each hop of four in ten ways, in virtual time: the error names the hop
// and the cause, within its limit, and the report reads like testdata/faults.txt.
func TestFaults(t *testing.T) {
	var report strings.Builder
	for _, scheme := range []string{"socks5", "https", "https h1", "ssh"} {
		for _, f := range faults {
			if f.cert != nil && !strings.HasPrefix(scheme, "https") {
				continue
			}
			fmt.Fprintf(&report, "%s: %s\n", scheme, f.name)
			for k := 1; k <= 4; k++ {
				n := 4
				if f.blind { // hop k is the exit
					n = k
				}
				t.Run(fmt.Sprintf("%s/%s/%d", scheme, f.name, k), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := &row{t: t, n: testnet.New(), scheme: scheme}
						took, err := r.dial(f, k, n)
						checkFault(t, err, k, n)
						if took > withinLimit {
							t.Errorf("it took %v, the limit is %v", took, withinLimit)
						}
						fmt.Fprintf(&report, "  %6v  %v\n", took, err)
						time.Sleep(time.Minute) // whoever waits at the other ends gives up
					})
				})
			}
		}
	}
	golden(t, "faults.txt", report.String())
}

// checkFault makes sure that err is about hop k of n, and tells no secret or target.
func checkFault(t *testing.T, err error, k, n int) {
	t.Helper()
	var e *chain.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T)", err, err)
	}
	if e.Hop != k || e.Hops != n {
		t.Errorf("%v, want one of hop %d/%d", e, k, n)
	}
	for _, secret := range []string{"sesame", user, "target.example", host(k), ":1080"} {
		if strings.Contains(e.Error(), secret) {
			t.Errorf("%q tells %q", e, secret)
		}
	}
}

// golden compares with a file in testdata, or writes it if -update is given.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}
