// Package masque speaks HTTP/3 as a proxy does, at both ends.
//
//   - [Server] serves HTTP/3 beside a net/http server, for the same handler.
//   - [Connect] and [ConnectUDP] turn a CONNECT or a CONNECT-UDP that it received into a
//     relay.Pending.
//   - [Hop] is an upstream proxy reached by h3://, on sessions that tunnels and flows share.
//
// It follows RFC 9114 (HTTP/3; §4.4 for CONNECT), RFC 9298 (CONNECT-UDP), RFC 9297 (HTTP
// datagrams, capsules), RFC 9220 (extended CONNECT) and RFC 9000 (QUIC), which are quic-go's
// as far as it has them. No other room imports that.
//
// Early data (0-RTT) is never used by a hop. A server takes it, as others do, but
// opens no tunnel for it: who recorded it could send it again.
package masque
