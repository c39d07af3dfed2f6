// Package chain holds byway's one idea: a hop turns a dialer into a dialer.
//
// A [Dialer] opens connections. A [Hop] is one upstream proxy: given the
// dialer that reaches it, it yields the dialer that reaches whatever it can
// reach. [New] nests hops over a base dialer:
//
//	c, err := chain.New(&net.Dialer{}, office, paris)
//	conn, err := c.DialContext(ctx, "tcp", "example.com:443")
//
// The base dialer is handed to the first hop and to nothing else, and there is
// no default for it: a missing base, an empty chain or a hop that cannot carry
// the network asked for is an error, never a way around. Names are not resolved
// on the way; they travel to the last hop.
//
// A [Group] of hops is a hop, and so are a chain ([Sequence]) and chains that
// choose their hops ([Dynamic], [Random]). They nest in each other.
//
// Every connection returned by a chain honours half-close (see [CloseWriter]),
// outlives the context of its dial, and is the operating system's own
// connection whenever no layer needs to translate bytes, so that two TCP ends
// can be spliced.
//
// Failures are reported as *[Error], which names the hop and the phase and
// speaks errno: a far "connection refused" satisfies
// errors.Is(err, syscall.ECONNREFUSED).
//
// The package imports the standard library only.
package chain
