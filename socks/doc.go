// Package socks speaks SOCKS: version 5 (RFC 1928, with the user names and
// passwords of RFC 1929), version 4, and 4a, which lets a name travel.
//
// [Server] is the listener's side: it parses what a client asks for and hands
// it to a relay as a relay.Pending. [Hop5], [Hop4a] and [Hop4] are the other
// side: chain hops that reach their targets through a SOCKS server.
//
//	c, err := chain.New(base, socks.Hop5("192.0.2.7:1080", socks.HopOptions{}))
//	s := &socks.Server{Relay: &relay.Relay{Router: router(c)}, Request: relay.Request{Listener: l.Addr().String()}}
//	for { conn, _ := l.Accept(); go s.ServeConn(ctx, conn) }
//
// Names are never resolved here, on either side: they go onwards as they came.
// A name is letters, digits, hyphens, underscores and dots; anything else is
// refused by both sides, non-ASCII letters too, as no name system and no later
// protocol has bytes for them (a client sends the A-label, "xn--…").
//
// A reply code is an error ([ReplyCode], [ReplyCode4]) that speaks errno, so
// that what a far hop says comes back to our client as the same code.
//
// Of SOCKS5's commands there are CONNECT, BIND, UDP ASSOCIATE and Tor's RESOLVE and
// RESOLVE_PTR on both sides, of SOCKS4's CONNECT, and BIND on the hop's side; others
// are refused with the code for that. BIND waits at the far end, never here. [Hop5]'s dialer takes network "udp" if the way to
// the hop does ([chain.Carries]): its conns carry one datagram per Read and Write.
//
// # Pipelining
//
// RFC 1928 lets a client wait for the choice of a method before it sends on.
// It need not if it offers one method only: [Hop5] can write greeting,
// authentication and request at once, and so saves a round trip, or two with a
// password. Nearly all servers read that well. Some read the greeting's whole segment and
// drop what follows it, and then wait forever for the request; see [Auto] for how
// that is found out.
package socks
