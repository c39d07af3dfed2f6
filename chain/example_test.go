package chain_test

import (
	"fmt"
	"net"
	"strings"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/hop"
)

// proxies returns SOCKS5 hops by their hosts.
func proxies(hosts ...string) []chain.Hop {
	var all []chain.Hop
	for _, host := range hosts {
		h, err := hop.Parse("socks5://"+host+":1080", hop.Options{Name: strings.TrimSuffix(host, ".example")})
		if err != nil {
			panic(err)
		}
		all = append(all, h)
	}
	return all
}

// Two exits behind one entry: the second takes over when the first fails, within the same
// dial.
func ExampleGroup() {
	p := proxies("office.example", "paris.example", "rome.example")
	exits := chain.Group("exits", chain.GroupOptions{Strategy: chain.First}, chain.Member{Hop: p[1]}, chain.Member{Hop: p[2]})
	c, err := chain.New(&net.Dialer{}, p[0], exits)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Println(c.Hops())
	for _, g := range c.Groups() {
		for _, m := range g.Members {
			fmt.Println(g.Name, m.Name, m.Alive)
		}
	}
	// Output:
	// [office exits]
	// exits paris true
	// exits rome true
}

// A chain that goes without a dead hop, as long as two are left. A chain of fewer is
// refused, as is one without hops: nothing ever means "direct".
func ExampleDynamic() {
	sturdy := chain.Dynamic("sturdy", chain.DynamicOptions{Least: 2}, proxies("office.example", "home.example", "paris.example")...)
	c, err := chain.New(&net.Dialer{}, sturdy)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Println(c.Hops())
	_, err = chain.New(&net.Dialer{}, chain.Dynamic("frail", chain.DynamicOptions{Least: 2}, proxies("paris.example")...))
	fmt.Println(err)
	// Output:
	// [sturdy]
	// chain: hop 1 frail: 1 hops are no choice of 2
}
