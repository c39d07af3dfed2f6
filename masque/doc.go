// Package masque speaks HTTP/3 as a proxy does, at both ends.
//
//   - [Server] serves HTTP/3 beside a net/http server, for the same handler.
//   - [Connect] turns a CONNECT that it received into a relay.Pending.
//   - [Hop] is an upstream proxy reached by h3://, on sessions that tunnels share.
//
// It follows RFC 9114 (HTTP/3; §4.4 for CONNECT) and RFC 9000 (QUIC), both by
// quic-go, which no other room imports.
//
// Early data (0-RTT) is never used by a hop. A server takes it, as others do, but
// opens no tunnel for it: who recorded it could send it again.
package masque
