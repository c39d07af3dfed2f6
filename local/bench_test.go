package local

import (
	"io"
	"net"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/socks"
)

// The benchmarks compare byway with the least that a relay in Go can do: accept,
// dial, two io.Copy. Client, relay and target share the machine.
//
//	direct    no relay at all
//	iocopy    the plain relay: no protocol, no deadlines, no register
//	byway     a listener of byway's, SOCKS5, and the rule "direct"
//	hop       the same through one SOCKS5 hop, which is byway's too

// ways returns, by name, what dials target through each of them.
func ways(b *testing.B, target string) map[string]func() (net.Conn, error) {
	plain := plainRelay(b, target)
	direct := serve(b, "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nto = \"direct\"\n", &net.Dialer{})
	hop := serve(b, through(socksServer(b, &net.Dialer{})), &net.Dialer{})
	socksDial := func(addr string) func() (net.Conn, error) {
		c, err := chain.New(&net.Dialer{}, socks.Hop5(addr, socks.HopOptions{Pipeline: socks.On}))
		if err != nil {
			b.Fatal(err)
		}
		return func() (net.Conn, error) { return c.Dial("tcp", target) }
	}
	return map[string]func() (net.Conn, error){
		"direct": func() (net.Conn, error) { return net.Dial("tcp", target) },
		"iocopy": func() (net.Conn, error) { return net.Dial("tcp", plain) },
		"byway":  socksDial(direct),
		"hop":    socksDial(hop),
	}
}

var order = []string{"direct", "iocopy", "byway", "hop"}

func plainRelay(b *testing.B, target string) string {
	l := testnet.Listen(b)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				far, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				defer far.Close()
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, _ = io.Copy(far, c)
					_ = chain.CloseWrite(far)
				}()
				_, _ = io.Copy(c, far)
				_ = chain.CloseWrite(c)
				<-done
			}()
		}
	}()
	return l.Addr().String()
}

// BenchmarkTunnels opens a tunnel, exchanges five bytes and closes it, 32 at once.
func BenchmarkTunnels(b *testing.B) {
	l := testnet.Listen(b)
	go testnet.Echo(l)
	dials := ways(b, l.Addr().String())
	for _, name := range order {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c, err := dials[name]()
					if err != nil {
						b.Error(err)
						return
					}
					checkEcho(b, c)
					_ = c.Close()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tunnels/s")
		})
	}
}

// BenchmarkBulk moves 1 MiB an operation through one tunnel, down and up.
func BenchmarkBulk(b *testing.B) {
	const size = 1 << 20
	l := testnet.Listen(b)
	go source(l, size)
	dials := ways(b, l.Addr().String())
	for _, name := range order {
		b.Run("down/"+name, func(b *testing.B) { bulk(b, dials[name], 'd', size) })
	}
	for _, name := range order {
		b.Run("up/"+name, func(b *testing.B) { bulk(b, dials[name], 'u', size) })
	}
}

// source sends without end to a client that says d, and drops what comes from others.
func source(l net.Listener, size int) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			say := make([]byte, 1)
			if _, err := io.ReadFull(c, say); err != nil {
				return
			}
			buf := make([]byte, size)
			for err == nil {
				if say[0] == 'd' {
					_, err = c.Write(buf)
				} else {
					_, err = c.Read(buf)
				}
			}
		}()
	}
}

func bulk(b *testing.B, dial func() (net.Conn, error), way byte, size int) {
	c, err := dial()
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{way}); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if way == 'd' {
			_, err = io.ReadFull(c, buf)
		} else {
			_, err = c.Write(buf)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
