// Package connectudp is what CONNECT-UDP (RFC 9298) is made of on every version of
// HTTP, at both ends: the path that names the target, capsules (RFC 9297 §3.2), and
// the flow of datagrams that they carry.
//
// Context ID 0 is the only one: others are dropped (RFC 9298 §4), and capsules of other
// types skipped.
package connectudp
