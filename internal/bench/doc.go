// Package bench measures byway beside other proxies, as whole programs:
//
//	make bench-peers PEERS="-rounds 9 -idle 5000"
//
// It builds the command, starts it and each peer that is installed as processes of
// their own on loopback ports, puts the same load on each in turn, round by round, and
// prints tables: medians with the range of the rounds, and ratios of byway to the best
// peer. Client and target are this process; what a proxy uses is read from /proc for
// the process and its children. Nothing leaves the machine. A peer that is not
// installed is said so and left out. It needs Linux.
//
// The parts, each a test: TestPeersPlain, one SOCKS5 listener that goes direct;
// TestPeersTLS, a SOCKS5 listener, a TLS hop and its far end; and TestPeersFirstByte,
// three SOCKS5 hops over legs of 50 ms round trip each (internal/netlab; root).
//
// TestFrontPeers (make bench-front) measures the website as a reverse proxy beside others, with wrk in front and nginx behind.
//
// What a column says:
//
//   - Gbit/s: one tunnel, after 0.1 s in which flows may become bulk; what was received.
//   - cpu s/GB: processor time of the proxy for 10^9 bytes, down and up together.
//   - tunnels/s: opened one message at a time, five bytes there and back, closed; 32 at once.
//   - p50, p99: from the dial to these five bytes, in ms, among the 32.
//   - cpu µs: processor time of the proxy for such a tunnel.
//   - KiB, fds: proportional set size and descriptors for each tunnel that has been idle
//     for 5 s, beyond those of the process just started and used once. The fewer the
//     tunnels, the more weighs what a process needs once.
//
// The least in Go is a relay of forty lines without limits, deadlines or a log: what it costs
// is the kernel's and the Go runtime's. It is compared with by eye, and is no peer.
//
// The rows are contenders. A table knows which are ours and which are no proxy at all,
// so a part grows by a contender in its list, and a column by a Put.
package bench
