// Package relay carries requests to their targets.
//
// A listener's protocol code parses what a client asks for and yields a
// [Pending]: a request that is not yet answered. [Relay.Serve] asks the
// [Router], dials, lets the Pending answer in its protocol's own words, and
// copies until both directions have ended. Protocol code never copies bytes;
// the relay never speaks a protocol.
//
// # How a tunnel is carried, rests and is parked
//
// A tunnel has one owner at a time. It is, in this order:
//
//   - being opened: its owner is [Relay.Serve].
//   - carried: its pair has it. Each of the pair's two directions is running (a
//     goroutine of its own reads and writes), resting (there is none, and no byte is
//     in hand), or has ended. One that reads nothing until no byte has moved, either way, for
//     a second rests; one that has bytes in hand, or hears of an end, first sees to it that the
//     other runs, and keeps it running until they are gone. The pair's lock
//     decides both, so that no answer meets a direction that rests.
//   - parked: nobody has it. The last direction to rest, alone by then, has left copies of
//     the two descriptors in an epoll (the lot) and closed the conns. Whoever
//     takes the tunnel out, under the register's lock, is its owner: the watcher of
//     the lot, for news or since it idled for too long, or a kill. There is one, since the
//     tunnel is out then. News are an end of the descriptors that is readable, or broken.
//   - woken: its owner is a goroutine that makes conns of the descriptors and a new
//     pair of these, which takes it on as if it had just been opened.
//   - ended: by the owner, once. Trace.Closed is told, then the register.
//
// A kill closes the conns of a tunnel that is carried, and its owner ends it; a tunnel
// that is parked it takes out and ends itself; to one on its way between the two, it
// leaves a mark, which the register shows to whoever wants to park it or to attach conns.
// Half-closed tunnels are parked, too. Nothing is parked where an end is not the operating
// system's TCP conn, nor on systems other than Linux: what idles there keeps its goroutines,
// and never rests.
//
// An end that is [Steady] is read without deadlines, and the idle limit is kept by a timer of the pair.
// If the other end is a TCP conn (Linux), the direction from there rests alone: the lot waits for that one
// descriptor, which stays the conn's, and has news rouse the direction. So the tunnel keeps one goroutine, which
// reads steadily and rouses the other direction before it passes anything on or ends.
//
// What happens is told to a [Trace]; the package logs nothing.
package relay
