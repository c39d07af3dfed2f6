// Package h2 is the client's side of HTTP/2 (RFC 9113) for tunnels, and for
// nothing else: a [Session] opens streams with a CONNECT (§8.5), and a [Stream]
// whose CONNECT was answered is a net.Conn.
//
// It is here since net/http's client, made for requests with an end, costs a tunnel
// two goroutines and three copies of each byte, and half-closes by ways round.
//
//   - One goroutine reads a session and one writes it. A Write copies its bytes into
//     what the writer sends next, and so leaves in the company of others.
//   - What is read goes from the session's buffer straight to a Read that waits.
//     Memory is held for bytes that nobody waits for, and only for those.
//   - An idle stream is a struct: no goroutine, no buffer.
//
// # Windows
//
// The session's receive window never runs low: bytes are given back when they
// arrive. What a stream may hold is bounded by its own window, so that one
// whose reader stands still keeps nothing from the others. That window begins at
// initialWindow and doubles while the path shows that it is the limit (half of it
// was read within one and a half round trips), up to maxWindow, as long as the [Budget] that
// all streams share has something left.
//
// The peer's session window is shared as well, and a peer such as net/http gives
// back only what has been consumed. A stream therefore keeps no more than
// eight times of it that is left to the others unconsumed: those always have a part.
//
// # Ends
//
// END_STREAM is the half-close of both sides. RST_STREAM is what an abort sends, and what
// is read as ECONNRESET. A session whose peer doesn't answer a PING is given up.
package h2
