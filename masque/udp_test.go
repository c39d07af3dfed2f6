package masque

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/datagram"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// TestFlowsConform runs the suite of datagrams: by capsules, as the first session of a hop
// has them, and apart, to whom they are offered; over a socket and over another flow.
func TestFlowsConform(t *testing.T) {
	for name, test := range map[string]struct {
		offer   Offer
		base    chain.Dialer
		longest int
	}{
		"capsules":            {ToFriends, &net.Dialer{}, datagram.Max},
		"capsules over flow":  {ToFriends, opaque(&net.Dialer{}), datagram.Max},
		"datagrams":           {ToAll, &net.Dialer{}, 1200},
		"datagrams over flow": {ToAll, opaque(&net.Dialer{}), 1200},
	} {
		t.Run(name, func(t *testing.T) {
			ends := make(chan net.Conn)
			l := listenUDP(t)
			serveTo(t, l, handed(ends), test.offer)
			// A hop without an identity's wrapping, and one session to be sure of.
			o, err := httpproxy.HopOptions{TLS: trust()}.Filled("h3", l.LocalAddr().String())
			must(t, err)
			d := newDialer(test.base, l.LocalAddr().String(), o, new(lacks))
			t.Cleanup(func() { _ = d.Close() })
			d.again = time.Now() // no second session
			testnet.TestDatagrams(t, func(t *testing.T) (a, b net.Conn, longest int) {
				got := make(chan net.Conn, 1)
				go func() { got <- <-ends }()
				a, err := d.DialContext(t.Context(), "udp", "target.example:443")
				must(t, err)
				return a, <-got, test.longest
			})
		})
	}
}

// udpEcho has a target that answers datagrams with what they said.
func (w *world) udpEcho(t *testing.T) {
	t.Helper()
	c, err := w.Host("target").ListenPacket(":53")
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
}

func ask(t *testing.T, c net.Conn, words string) {
	t.Helper()
	_, err := c.Write([]byte(words))
	must(t, err)
	must(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	buf := make([]byte, 64<<10)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != words {
		t.Fatalf("read %d bytes, %v; want %d", n, err, len(words))
	}
}

// TestFlowComesBack: the first session has no datagrams; the second, which comes from the same
// address, is offered them, and further flows go by it. Who comes from elsewhere is not.
func TestFlowComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []bool
		w := newWorld(t, httpproxy.HopOptions{}, nil)
		w.udpEcho(t)
		carry := tunnelled(&relay.Relay{Router: direct(w.Host("hop1"))})
		w.hop.Handler.(*switched).h = func(rw http.ResponseWriter, r *http.Request) {
			seen = append(seen, visitOf(r.Context()).datagrams)
			carry(rw, r)
		}
		for range 3 {
			c, err := w.dialer.DialContext(t.Context(), "udp", "target:53")
			must(t, err)
			ask(t, c, "hello")
			_ = c.Close()
			time.Sleep(time.Second)
		}
		if len(seen) != 3 || seen[0] || !seen[1] || !seen[2] {
			t.Errorf("datagrams were offered: %v", seen)
		}
		if n := w.sessions(); n != 1 {
			t.Errorf("%d ways", n)
		}
		other, err := Hop("hop1:443", httpproxy.HopOptions{TLS: trust()}).Wrap(w.Host("client"))
		must(t, err)
		defer other.(io.Closer).Close()
		c, err := other.DialContext(t.Context(), "udp", "target:53")
		must(t, err)
		ask(t, c, "hello")
		_ = c.Close()
		if seen[3] {
			t.Error("datagrams were offered to who comes for the first time")
		}
	})
}

// TestStrangersSeeNoDatagrams: neither a stranger nor one who comes back without having shown a
// credential meets anything that an ordinary server does not say.
func TestStrangersSeeNoDatagrams(t *testing.T) {
	l := listenUDP(t)
	serveTo(t, l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ToFriends)
	from := listenUDP(t)
	defer from.Close()
	tr := &quic.Transport{Conn: from}
	defer tr.Close()
	cfg := trust()
	cfg.ServerName, cfg.NextProtos = "127.0.0.1", []string{"h3"}
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 3 {
		qc, err := tr.Dial(t.Context(), l.LocalAddr(), cfg, &quic.Config{EnableDatagrams: true})
		must(t, err)
		c := (&http3.Transport{EnableDatagrams: true}).NewClientConn(qc)
		<-c.ReceivedSettings()
		if c.Settings().EnableDatagrams || qc.ConnectionState().SupportsDatagrams.Remote {
			t.Error("a stranger was offered datagrams")
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+l.LocalAddr().String()+"/", nil)
		must(t, err)
		resp, err := c.RoundTrip(r)
		must(t, err)
		_ = resp.Body.Close()
		_ = qc.CloseWithError(0x100, "")
	}
}

// TestTooLong: a datagram that does not fit is an error for who sends it and nothing else.
func TestTooLong(t *testing.T) {
	l := listenUDP(t)
	ends := make(chan net.Conn, 1)
	serveTo(t, l, handed(ends), ToAll)
	d := wrap(t, Hop(l.LocalAddr().String(), httpproxy.HopOptions{TLS: trust()}), opaque(&net.Dialer{}))
	c, err := d.DialContext(t.Context(), "udp", "target.example:443")
	must(t, err)
	defer c.Close()
	far := <-ends
	defer far.Close()
	if n, err := c.Write(make([]byte, 9000)); n != 0 || !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("wrote %d, %v", n, err)
	}
	for _, way := range [][2]net.Conn{{c, far}, {far, c}} {
		_, err = way[0].Write([]byte("x"))
		must(t, err)
		if n, err := way[1].Read(make([]byte, 9)); n != 1 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
	}
	if n, err := far.Write(make([]byte, 9000)); n != 0 || !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("the other end wrote %d, %v", n, err)
	}
}

// TestFlowsEnd: a flow that idles ends in order at both ends; one of a hop that does not know
// them is an error, which is remembered.
func TestFlowsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay.Relay{FlowIdleLimit: 7 * time.Second}
		w := newWorld(t, httpproxy.HopOptions{}, tunnelled(r))
		r.Router = direct(w.Host("hop1"))
		w.udpEcho(t)
		c, err := w.dialer.DialContext(t.Context(), "udp", "target:53")
		must(t, err)
		ask(t, c, "hello")
		must(t, c.SetReadDeadline(time.Time{}))
		began := time.Now()
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("read %d, %v", n, err)
		}
		if took := time.Since(began); took < 6*time.Second || took > 8*time.Second {
			t.Errorf("it ended after %v", took)
		}
		_ = c.Close()
	})
}

func TestFlowsAreLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, httpproxy.HopOptions{}, answering(404))
		for range 2 {
			_, err := w.dialer.DialContext(t.Context(), "udp", "target:53")
			if e := (*chain.Error)(nil); !errors.As(err, &e) || e.Phase != chain.PhaseAuth {
				t.Errorf("got %v", err)
			}
			if chain.Carries(w.dialer, "udp") || !chain.Carries(w.dialer, "tcp") {
				t.Error("it is not learnt")
			}
		}
		time.Sleep(time.Hour)
		if !chain.Carries(w.dialer, "udp") {
			t.Error("it is not asked again")
		}
	})
}

// TestQUICThroughQUIC: an app's own session, by datagrams within datagrams.
func TestQUICThroughQUIC(t *testing.T) {
	for name, offer := range map[string]Offer{"capsules, then datagrams": ToFriends, "datagrams": ToAll} {
		t.Run(name, func(t *testing.T) {
			site := listenUDP(t)
			serve(t, site, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }))
			l := listenUDP(t)
			serveTo(t, l, tunnelled(&relay.Relay{Router: direct(&net.Dialer{})}), offer)
			d := wrap(t, Hop(l.LocalAddr().String(), httpproxy.HopOptions{TLS: trust()}), &net.Dialer{})
			var through atomic.Int32
			app := &http3.Transport{
				TLSClientConfig: trust(),
				Dial: func(ctx context.Context, addr string, cfg *tls.Config, qc *quic.Config) (*quic.Conn, error) {
					c, err := d.DialContext(ctx, "udp", addr)
					if err != nil {
						return nil, err
					}
					through.Add(1)
					return quic.Dial(ctx, packetConn(c), c.RemoteAddr(), cfg, qc)
				},
			}
			defer app.Close()
			for range 3 {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+site.LocalAddr().String()+"/", nil)
				must(t, err)
				resp, err := app.RoundTrip(r)
				must(t, err)
				n, err := io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if n != 1<<20 || err != nil {
					t.Errorf("read %d bytes, %v", n, err)
				}
			}
			if through.Load() != 1 {
				t.Errorf("%d flows", through.Load())
			}
		})
	}
}
