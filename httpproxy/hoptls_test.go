package httpproxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

func TestH2ReplyLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, l, _ := world(t)
		reset := make(chan struct{})
		serveTLS(t, l, false, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(reset)
		})
		d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}), client)
		_, err := d.DialContext(t.Context(), "tcp", "a:1")
		if chain.Errno(err) != syscall.ETIMEDOUT {
			t.Errorf("error %v", err)
		}
		<-reset // the stream was given up, and not the session
	})
}

// TestErrnoComesBack sends a far errno through an egress.
func TestErrnoComesBack(t *testing.T) {
	for _, h1only := range []bool{false, true} {
		for _, far := range []error{
			syscall.ECONNREFUSED, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ETIMEDOUT, syscall.ECONNRESET,
			relay.ErrBlocked, &net.DNSError{Name: "secret.example", IsNotFound: true},
		} {
			fails := chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) { return nil, far })
			r := &relay.Relay{Router: direct(fails)}
			srv := serveTLS(t, testnet.Listen(t), h1only, tunnelled(r, ConnectOptions{ProxyStatus: "byway"}))
			d := wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{})
			_, err := d.DialContext(t.Context(), "tcp", "a:1")
			var se *StatusError
			if !errors.As(err, &se) || chain.Errno(err) != chain.Errno(far) {
				t.Errorf("h1 %v: error %v for %v", h1only, err, far)
			}
		}
	}
}

// TestWebsiteIsNoTunnel: who has no credential for an egress gets a page.
func TestWebsiteIsNoTunnel(t *testing.T) {
	pages := map[string]http.HandlerFunc{
		"empty": func(http.ResponseWriter, *http.Request) {},
		"page":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/")
			w.WriteHeader(http.StatusPermanentRedirect)
		},
		"streamed page": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	}
	for name, page := range pages {
		for _, h1only := range []bool{false, true} {
			srv := serveTLS(t, testnet.Listen(t), h1only, page)
			d := wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{})
			var e *chain.Error
			if _, err := d.DialContext(t.Context(), "tcp", "a:1"); !errors.As(err, &e) || e.Phase != chain.PhaseAuth {
				t.Errorf("%s, h1 only %v: error %v", name, h1only, err)
			}
		}
	}
}

func TestCredentialsAndFields(t *testing.T) {
	var mu sync.Mutex
	var got []http.Header
	srv := serveTLS(t, testnet.Listen(t), false, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Header.Clone())
		w.WriteHeader(http.StatusForbidden)
	})
	d := wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert()), User: "u", Password: "p"}), &net.Dialer{})
	_, _ = d.DialContext(t.Context(), "tcp", "a:1")
	want := http.Header{"Proxy-Authorization": {"Basic dTpw"}, "Capsule-Protocol": {"?1"}}
	if len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(want) {
		t.Errorf("the proxy got %v, want %v", got, want)
	}
}

func TestTLSFailures(t *testing.T) {
	srv := serveTLS(t, testnet.Listen(t), false, tunnelled(&relay.Relay{Router: direct(&net.Dialer{})}, ConnectOptions{}))
	target := echoTargets(t)
	right := sha256.Sum256(testCert().Leaf.RawSubjectPublicKeyInfo)
	pinned := func(cfg *tls.Config, pins ...[32]byte) *tls.Config {
		PinSPKI(cfg, pins...)
		return cfg
	}
	other := newCert("other")
	for _, test := range []struct {
		name string
		tls  *tls.Config
		ok   bool
	}{
		{"CA", trust(testCert()), true},
		{"system roots", nil, false},
		{"another CA", trust(other), false},
		{"pin alone", pinned(&tls.Config{}, [32]byte{}, right), true},
		{"wrong pin", pinned(&tls.Config{}, [32]byte{1}), false},
		{"no pin", pinned(&tls.Config{}), false},
		{"CA and pin", pinned(trust(testCert()), right), true},
		{"CA and wrong pin", pinned(trust(testCert()), [32]byte{1}), false},
		{"another CA and pin", pinned(trust(other), right), false},
		{"refused before the pin", pinned(&tls.Config{VerifyConnection: func(tls.ConnectionState) error {
			return errors.New("no")
		}}, right), false},
	} {
		for try := range 2 { // the second handshake resumes
			d := wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: test.tls}), &net.Dialer{})
			conn, err := d.DialContext(t.Context(), "tcp", target)
			if err == nil {
				_ = conn.Close()
			}
			var e *chain.Error
			if test.ok != (err == nil) || err != nil && (!errors.As(err, &e) || e.Phase != chain.PhaseTLS) {
				t.Errorf("%s, handshake %d: error %v", test.name, try+1, err)
			}
		}
	}
}

// TestPinHoldsForResumedSessions changes the pins between two handshakes.
func TestPinHoldsForResumedSessions(t *testing.T) {
	srv := serveTLS(t, testnet.Listen(t), true, tunnelled(&relay.Relay{Router: direct(&net.Dialer{})}, ConnectOptions{}))
	target := echoTargets(t)
	cfg := &tls.Config{}
	PinSPKI(cfg, sha256.Sum256(testCert().Leaf.RawSubjectPublicKeyInfo))
	resumed := make(chan bool, 2)
	good := cfg.VerifyConnection
	refuse := false
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		resumed <- s.DidResume
		if refuse {
			return ErrPin
		}
		return good(s)
	}
	d := wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: cfg}), &net.Dialer{})
	for i := range 2 {
		refuse = i == 1
		conn, err := d.DialContext(t.Context(), "tcp", target)
		if err == nil {
			_, _ = conn.Write([]byte("x"))
			_, _ = io.ReadFull(conn, make([]byte, 1)) // the ticket has come
			_ = conn.Close()
		}
		if got := <-resumed; got != (i == 1) || (err != nil) != (i == 1) {
			t.Errorf("handshake %d: resumed %v, error %v", i+1, got, err)
		}
	}
}
