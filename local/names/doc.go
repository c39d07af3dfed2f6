// Package names answers the DNS questions of programs that resolve by themselves.
//
// A [Server] listens by UDP and TCP. Names that have an answer of their own (localhost,
// .onion, the reverse zones of private addresses) and those that the rules block it answers
// itself; all else it asks servers reached through a chain, by DNS over HTTPS (RFC 8484), over
// TLS (RFC 7858) or over TCP (RFC 7766). It never asks this machine's resolver, and dials
// nothing but by [relay.Relay.Dial] with the one decision that it is given.
//
// With [StandIns] it gives names addresses that stand for them, in place of their own, and
// leaves out of what servers say whatever could lead past those. Whoever routes requests asks
// the same StandIns for the name.
//
// What goes to a server is made afresh from the question: of the client's message only the name,
// the type and the bits CD and DO arrive there. No client subnet (RFC 7871), no cookie and no
// ID gets through. Answers are kept for as long as their TTL allows, and no longer than the
// identity lasts: see [Server.Forget].
package names
