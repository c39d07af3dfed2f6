// Package httpproxy speaks HTTP as a proxy does, at both ends.
//
//   - [Server] serves local clients on HTTP/1.1 and HTTP/2: CONNECT, and http://
//     requests. It has a page about itself, and a PAC file.
//   - [Connect] turns a CONNECT that a net/http server received, on HTTP/1.1 or
//     HTTP/2, into a relay.Pending. The egress uses it.
//   - [ConnectUDP] does so for flows of UDP by "Upgrade: connect-udp" (RFC 9298 §3.2).
//   - [Hop] and [HopTLS] are upstream proxies reached by http:// and https://,
//     the latter on HTTP/2 where the proxy has it.
//
// It follows RFC 9110 (semantics), RFC 9112 (HTTP/1.1: framing is checked byte
// by byte before net/http parses it), RFC 9113 (HTTP/2; §8.5 for CONNECT), RFC
// 9209 (Proxy-Status), and RFC 9931: no data leaves before the answer to a
// CONNECT on HTTP/1.1, and a conn on which a CONNECT was refused is closed.
//
// # Deviations
//
// No Via field is sent unless asked for (RFC 9110 §7.6.3 says a proxy must):
// it would tell targets of the proxy.
//
// A 2xx answer to CONNECT that has a Content-Length, Transfer-Encoding or
// Content-Type is taken for a website's and refused, where RFC 9110 §9.3.6 says
// to ignore the first two: ordinary servers answer a CONNECT that they don't
// understand with 200 and a page, or with an empty one, and an egress does so to
// those without a credential. The bytes of a page must not pass for the target's.
//
// A 100 (Continue) for a client on HTTP/2 is sent when the body is first read, be it
// on the way to the target or not: net/http takes the expectation out of the request,
// so it can't be forwarded as RFC 9110 §10.1.1 wants.
//
// # Half-close on HTTP/2
//
// A client's END_STREAM is all that is needed in one direction. In the other,
// net/http's server sends END_STREAM when the handler returns, and at once
// RST_STREAM(NO_ERROR) unless the client has ended: what the client still has to
// say is lost. There is no way around it with that server. So a hop offers
// "capsule-protocol: ?1" in its CONNECT, and [Connect] takes the offer in its
// 200: the bytes of the response are then DATA capsules, and a FINAL_DATA
// capsule (draft-ietf-httpbis-connect-tcp) is the half-close. The stream stays
// open until both directions have ended. Peers that don't know the offer ignore
// it; those that can half-close a stream natively are understood as well.
package httpproxy
