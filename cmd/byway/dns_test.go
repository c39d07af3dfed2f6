package main

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/byway-proxy/byway/internal/dnsask"
)

// everything is the zone in which each name is 192.0.2.7, save for those of this machine.
type everything struct{}

func (everything) Addrs(_ context.Context, name string) ([]netip.Addr, error) {
	if strings.HasPrefix(name, "here.") {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	return []netip.Addr{netip.MustParseAddr("192.0.2.7")}, nil
}

func (everything) Names(context.Context, netip.Addr) ([]string, error) { return nil, nil }

// nameServer is the command of that name: see TestScripts.
func nameServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: nameserver NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], l.Addr().String())
	ts.Setenv(args[0]+"_PORT", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go dnsask.Answer(c, everything{}, 10*time.Second)
		}
	}()
}

// resolve is the command of that name: see TestScripts.
func resolve(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: resolve udp|tcp SERVER NAME")
	}
	r := &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, args[0], args[1])
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	all, err := r.LookupNetIP(ctx, "ip4", args[2]+".")
	if (err != nil) != neg {
		ts.Fatalf("resolve: %v, %v", all, err)
	}
	for _, a := range all {
		_, _ = ts.Stdout().Write([]byte(a.Unmap().String() + "\n"))
	}
}
