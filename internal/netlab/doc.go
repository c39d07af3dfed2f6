// Package netlab makes hosts with real kernel TCP and links that take their time,
// for measurements: each host is a network namespace, each link a pair of TUN
// devices between which this process carries the packets, later. It needs no netem, but
// Linux, root and /dev/net/tun.
//
//	lab := netlab.New(t)
//	client, hop, target := lab.Host(), lab.Host(), lab.Host()
//	lab.Link(client, hop, 25*time.Millisecond)
//	lab.Link(hop, target, 25*time.Millisecond)
//	lab.Route()
//	l, err := target.Listen(80)
//	conn, err := client.DialContext(ctx, "tcp", target.Addr(80)) // takes 100 ms
//
// Nothing of it can be reached from outside: the namespaces have no other devices.
package netlab
