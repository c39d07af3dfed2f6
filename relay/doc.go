// Package relay carries requests to their targets.
//
// A listener's protocol code parses what a client asks for and yields a
// [Pending]: a request that is not yet answered. [Relay.Serve] asks the
// [Router], dials, lets the Pending answer in its protocol's own words, and
// copies until both directions have ended. Protocol code never copies bytes;
// the relay never speaks a protocol.
//
// What happens is told to a [Trace]; the package logs nothing.
package relay
