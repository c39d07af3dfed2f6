package hop_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"

	"golang.org/x/net/proxy"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/hop"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

// An http.Client whose requests go through two hops, and no other way.
func Example() {
	// In a program these are addresses of proxies and of a website.
	office, stop := serveProxy()
	defer stop()
	paris, stop := serveProxy()
	defer stop()
	website := serveWebsite()
	defer website.Close()

	first, err := hop.Parse("socks5://"+office, hop.Options{Name: "office"})
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := hop.Parse("socks5://"+paris, hop.Options{Name: "paris"})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := chain.New(&net.Dialer{}, first, second)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: c.DialContext, DisableKeepAlives: true}}
	resp, err := client.Get(website.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(writer{}, resp.Body)
	fmt.Println(c.Hops())
	// Output:
	// Hello from the website.
	// [office paris]
}

// After Register, golang.org/x/net/proxy makes dialers of byway's schemes, for programs
// that get their proxy as a URL. A *chain.Chain is one as it is.
func ExampleRegister() {
	hop.Register()
	u, err := url.Parse("https://alice:sesame@paris.example.org")
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := proxy.FromURL(u, &net.Dialer{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, ok := d.(proxy.ContextDialer)
	fmt.Println(ok)
	// Output: true
}

type writer struct{}

func (writer) Write(p []byte) (int, error) { return fmt.Print(string(p)) }

// serveProxy serves SOCKS5 at the address that it returns, until stop.
func serveProxy() (addr string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	s := &socks.Server{Relay: &relay.Relay{Router: route.Table{{To: &net.Dialer{}, Via: "direct"}}}}
	go each(l, func(c net.Conn) { _ = s.ServeConn(context.Background(), c) })
	return l.Addr().String(), func() {
		_ = l.Close()
		_ = s.Relay.Close()
	}
}

// serveWebsite serves a page.
func serveWebsite() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "Hello from the website.\n")
	}))
}
