package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress"
	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/local"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

// demoName is a name that the demo's egress alone can resolve.
const demoName = "website.test"

func demoCommand() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a whole chain on this machine, to try it out",
		Long: "Run a website, an egress, a SOCKS5 hop and the local side, all on loopback and with\n" +
			"credentials made up on the spot, and print what to paste. Ends with Ctrl-C.",
		Args: cobra.NoArgs,
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:1080", "loopback address for the local side")
	log := logFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		d, err := newDemo(log())
		if err != nil {
			return err
		}
		defer d.close()
		return d.run(c.Context(), listen, c.OutOrStdout())
	}
	return c
}

// demo is everything that "byway demo" runs.
type demo struct {
	log      *slog.Logger
	website  net.Listener
	egress   net.Listener
	hop      net.Listener
	token    string
	password string
	server   *egress.Server
	socks    *socks.Server
	web      *http.Server
	wg       sync.WaitGroup
}

func newDemo(log *slog.Logger) (d *demo, err error) {
	d = &demo{log: log, token: users.NewToken(), password: users.NewToken()}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	for _, l := range []*net.Listener{&d.website, &d.egress, &d.hop} {
		if *l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
			return d, err
		}
	}
	d.web = &http.Server{Handler: http.HandlerFunc(demoPage), ReadHeaderTimeout: 10 * time.Second}
	if err = d.newEgress(); err != nil {
		return d, err
	}
	err = d.newHop()
	return d, err
}

// newEgress lets tunnels lead to this demo's website besides the public internet.
func (d *demo) newEgress() error {
	cert, err := egress.NewCertificate("127.0.0.1")
	if err != nil {
		return err
	}
	set, err := users.New(map[string]string{"demo": d.token})
	if err != nil {
		return err
	}
	website := d.website.Addr().String()
	public := &egress.Policy{Resolver: net.DefaultResolver, Base: &net.Dialer{}, DenyPorts: []uint16{25, 465, 587}}
	toWebsite := chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
		_, port, _ := net.SplitHostPort(website)
		if addr == website || addr == net.JoinHostPort(demoName, port) {
			return (&net.Dialer{}).DialContext(ctx, network, website)
		}
		return public.DialContext(ctx, network, addr)
	})
	d.server = &egress.Server{
		Users:       set,
		Site:        http.HandlerFunc(demoPage),
		Certificate: cert,
		Relay: &relay.Relay{
			Router: route.Table{{To: toWebsite, Via: "direct", Place: "the demo's egress"}},
			Trace:  local.Trace(d.log.With("at", "egress")),
		},
	}
	return nil
}

// newHop makes a SOCKS5 server that leads to the egress and nowhere else.
func (d *demo) newHop() error {
	set, err := socks.NewUsers(map[string]string{"demo": d.password})
	if err != nil {
		return err
	}
	only := d.egress.Addr().String()
	toEgress := chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != only {
			return nil, egress.ErrNotAllowed
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	})
	d.socks = &socks.Server{
		Users:   set,
		Request: relay.Request{Listener: d.hop.Addr().String()},
		Relay: &relay.Relay{
			Router: route.Table{{To: toEgress, Via: "direct", Place: "the demo's hop"}},
			Trace:  local.Trace(d.log.With("at", "hop")),
		},
	}
	return nil
}

func (d *demo) run(ctx context.Context, listen string, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg, err := d.config(listen)
	if err != nil {
		return err
	}
	s, err := local.New(cfg, &net.Dialer{}, d.log)
	if err != nil {
		return err
	}
	addrs, _, err := s.Listen(ctx)
	if err != nil {
		_ = s.Close()
		return fmt.Errorf("%w; choose another address by --listen", err)
	}
	d.wg.Go(func() { _ = d.web.Serve(d.website) })
	d.wg.Go(func() { _ = d.server.Serve(d.egress) })
	d.wg.Go(func() { d.serveHop(ctx) })
	if err := d.tell(out, addrs[0].String()); err != nil {
		return errors.Join(err, s.Close())
	}
	return s.Serve(ctx)
}

// config is what a user would write in a file.
func (d *demo) config(listen string) (*configs.Client, error) {
	pin, err := egress.Pin(d.server.Certificate)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`
[[listen]]
address = %s
[[hop]]
name = "hop"
url = "socks5://demo:%s@%s"
[[hop]]
name = "egress"
url = "https://demo:%s@%s"
[hop.tls]
pin = %s
[[chain]]
name = "demo"
hops = ["hop", "egress"]
[[route]]
to = "demo"
[timeouts]
drain = "1s"
`, quote(listen), d.password, d.hop.Addr(), d.token, d.egress.Addr(), quote(pin))
	return configs.ParseClient("demo", []byte(text))
}

func (d *demo) serveHop(ctx context.Context) {
	for {
		c, err := d.hop.Accept()
		if err != nil {
			return
		}
		d.wg.Go(func() { _ = d.socks.ServeConn(ctx, c) })
	}
}

func (d *demo) tell(w io.Writer, addr string) error {
	_, port, err := net.SplitHostPort(d.website.Addr().String())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, `The chain is up:

  your app -> %s -> SOCKS5 hop %s -> TLS egress %s -> website http://%s

Paste into another terminal:

  curl -x socks5h://%s http://%s:%s/
  curl -x http://%s http://%s:%s/

No resolver knows %s: the name travels through the chain, and the egress
resolves it. Ctrl-C ends the demo.
`, addr, d.hop.Addr(), d.egress.Addr(), d.website.Addr(),
		addr, demoName, port, addr, demoName, port, demoName)
	return err
}

func (d *demo) close() {
	done, cancel := context.WithCancel(context.Background())
	cancel() // whatever is still there ends now
	for _, l := range []net.Listener{d.website, d.egress, d.hop} {
		if l != nil {
			_ = l.Close()
		}
	}
	if d.socks != nil {
		_ = d.socks.Relay.Close()
	}
	if d.server != nil {
		_ = d.server.Shutdown(done)
	}
	if d.web != nil {
		_ = d.web.Close()
	}
	d.wg.Wait()
}

func demoPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	from := r.RemoteAddr
	if a, err := netip.ParseAddrPort(from); err == nil {
		from = a.Addr().String()
	}
	_, _ = fmt.Fprintf(w, "Hello from the website's end of the chain.\nYou asked %s for %s, and seem to be %s.\n", r.Host, r.URL.Path, from)
	for _, name := range []string{"Via", "Forwarded", "X-Forwarded-For", "Proxy-Authorization"} {
		if v := r.Header.Get(name); v != "" {
			_, _ = fmt.Fprintf(w, "%s: %s\n", name, v)
		}
	}
}
