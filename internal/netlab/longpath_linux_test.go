package netlab

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/egress"
	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// BenchmarkLongPath moves bulk on one tunnel by way of an egress at a round trip of
// 200 ms, once its windows and TCP's have grown.
func BenchmarkLongPath(b *testing.B) {
	lab := New(b)
	client, far := lab.Host(), lab.Host()
	lab.Link(client, far, 100*time.Millisecond)
	lab.Route()
	for _, h := range []*Host{client, far} {
		// The ordinary limits of Linux (6 MB, 4 MB) are less than is under way here.
		h.Set("net.ipv4.tcp_rmem", "4096 131072 134217728")
		h.Set("net.ipv4.tcp_wmem", "4096 131072 134217728")
	}
	sources(b, far)
	for _, w := range []struct {
		name string
		d    chain.Dialer
	}{{"direct", client}, {"h2", toEgress(b, client, far)}} {
		for port, way := range map[uint16]string{9: "up", 19: "down"} {
			b.Run(w.name+"/"+way, func(b *testing.B) {
				// The first session earns the windows of the second.
				first, err := w.d.DialContext(b.Context(), "tcp", far.Addr(port))
				if err != nil {
					b.Fatal(err)
				}
				_ = first.Close()
				time.Sleep(2 * time.Second)
				conn, err := w.d.DialContext(b.Context(), "tcp", far.Addr(port))
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				step := func() (n int, err error) { return conn.Read(make([]byte, 64<<10)) }
				if way == "up" {
					step = func() (n int, err error) { return conn.Write(make([]byte, 64<<10)) }
				}
				moveFor(b, step, 8*time.Second)
				for b.Loop() {
					b.ReportMetric(float64(moveFor(b, step, 4*time.Second))*8/4/1e6, "Mbit/s")
				}
			})
		}
	}
}

func moveFor(b *testing.B, step func() (int, error), d time.Duration) (moved int) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		n, err := step()
		if moved += n; err != nil {
			b.Fatal(err)
		}
	}
	return moved
}

// sources serves what takes all on port 9, and what sends without end on port 19.
func sources(b *testing.B, h *Host) {
	for port, serve := range map[uint16]func(net.Conn){
		9: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		19: func(c net.Conn) {
			for buf := make([]byte, 64<<10); ; {
				if _, err := c.Write(buf); err != nil {
					return
				}
			}
		},
	} {
		l, err := h.Listen(port)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					serve(c)
					_ = c.Close()
				}()
			}
		}()
	}
}

// toEgress serves an egress, with the windows of its default configuration, and returns
// the way through it.
func toEgress(b *testing.B, client, h *Host) chain.Dialer {
	cert, err := egress.NewCertificate("egress.example")
	if err != nil {
		b.Fatal(err)
	}
	token := users.NewToken()
	set, err := users.New(map[string]string{"me": token})
	if err != nil {
		b.Fatal(err)
	}
	s := &egress.Server{
		Users: set, Site: http.NotFoundHandler(), Certificate: cert,
		Windows: egress.Windows{Stream: 24 << 20, Session: 32 << 20, Budget: 1 << 30},
		Relay: &relay.Relay{Router: route.Table{{Via: "direct", To: &egress.Policy{
			Resolver: net.DefaultResolver, Base: h, Allow: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/16")},
		}}}},
	}
	l, err := h.Listen(443)
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	sum, err := egress.PinSum(cert)
	if err != nil {
		b.Fatal(err)
	}
	cfg := &tls.Config{ServerName: "egress.example"} // who asks for no name of the site gets no certificate
	httpproxy.PinSPKI(cfg, sum)
	c, err := chain.New(client, httpproxy.HopTLS(h.Addr(443), httpproxy.HopOptions{User: "me", Password: token, TLS: cfg}))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = c.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ctx)
		<-served
	})
	return c
}
