package hop_test

import (
	"fmt"
	"net"
	"net/http"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/hop"
)

// An http.Client whose requests go through two hops, and no other way.
func Example() {
	office, err := hop.Parse("socks5://10.0.0.2:1080", hop.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	paris, err := hop.Parse("https://paris.example.org", hop.Options{User: "alice", Password: "…"})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := chain.New(&net.Dialer{}, office, paris)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	transport := &http.Transport{DialContext: c.DialContext}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	fmt.Println(c.Hops())
	// Output: [socks5://10.0.0.2:1080 https://paris.example.org:443]
}
