// Package testnet is an in-memory network for tests, and the conformance suite
// that every conn of byway's passes.
//
// A [Network] has hosts, and links with a delay between them. Under
// testing/synctest the delays are virtual, so that the exact number of round
// trips of a protocol can be asserted:
//
//	n := testnet.New()
//	n.SetDelay("client", "hop1", 25*time.Millisecond)
//	l, _ := n.Host("hop1").Listen(":1080")
//	conn, _ := n.Host("client").DialContext(ctx, "tcp", "hop1:1080") // takes 50 ms
//
// [TestConn] tells whether a pair of conns does all that design and net.Conn
// ask: half-close, deadlines, close from both sides, large writes, concurrent use.
// [TestDatagrams] does so for flows of datagrams, which hosts send each other too.
package testnet
