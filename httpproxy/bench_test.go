package httpproxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// benchPair returns both ends of a tunnel over loopback, on a session that is warm.
func benchPair(b *testing.B, h1only bool) (client, server net.Conn) {
	ends := make(chan net.Conn, 1)
	srv := serveTLS(b, testnet.Listen(b), h1only, handed(ends))
	d := wrap(b, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{})
	for range 2 {
		var err error
		if client, err = d.DialContext(b.Context(), "tcp", "a:1"); err != nil {
			b.Fatal(err)
		}
		server = <-ends
		// The server's SETTINGS are here when its first bytes are.
		_, _ = server.Write([]byte("x"))
		_, _ = io.ReadFull(client, make([]byte, 1))
		for _, c := range []net.Conn{client, server} {
			b.Cleanup(func() { _ = c.Close() })
		}
	}
	return client, server
}

// BenchmarkThroughput moves pieces of 64 KiB as the relay does.
func BenchmarkThroughput(b *testing.B) {
	for _, proto := range []string{"h2", "tls"} {
		for _, way := range []string{"down", "up"} {
			b.Run(proto+"/"+way, func(b *testing.B) {
				client, server := benchPair(b, proto == "tls")
				from, to := server, client
				if way == "up" {
					from, to = client, server
				}
				const piece = 64<<10 - 128
				b.SetBytes(piece)
				b.ReportAllocs()
				read := to.Read
				if s, ok := to.(relay.Steady); ok {
					read = s.ReadSteady
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					buf := make([]byte, piece)
					for left := b.N * piece; left > 0; {
						n, err := read(buf)
						if err != nil {
							b.Error(err)
							return
						}
						left -= n
					}
				}()
				buf := make([]byte, piece)
				b.ResetTimer()
				cpu := cpuTime()
				for range b.N { // not b.Loop: the reader must know how many
					if _, err := from.Write(buf); err != nil {
						b.Fatal(err)
					}
				}
				<-done
				b.ReportMetric((cpuTime()-cpu).Seconds()/float64(b.N*piece)*1e9, "cpu-s/GB")
			})
		}
	}
}

// BenchmarkTunnels opens and closes tunnels by way of an egress with a relay.
func BenchmarkTunnels(b *testing.B) {
	for _, proto := range []string{"h2", "tls", "plain"} {
		b.Run(proto, func(b *testing.B) {
			target := chainToEcho(b)
			r := &relay.Relay{Router: direct(target)}
			var d interface {
				DialContext(ctx context.Context, network, addr string) (net.Conn, error)
			}
			l := testnet.Listen(b)
			if proto == "plain" {
				serve(b, l, &Server{Relay: r})
				d = wrap(b, Hop(l.Addr().String(), HopOptions{}), &net.Dialer{})
			} else {
				serveTLS(b, l, proto == "tls", tunnelled(r, ConnectOptions{}))
				d = wrap(b, HopTLS(l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{})
			}
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				buf := make([]byte, 1)
				for pb.Next() {
					conn, err := d.DialContext(context.Background(), "tcp", "a:1")
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = conn.Write(buf)
					_, _ = io.ReadFull(conn, buf)
					_ = conn.Close()
				}
			})
		})
	}
}

// chainToEcho dials in-memory echoes, so that the target costs little.
func chainToEcho(testing.TB) *memoryEcho { return &memoryEcho{} }

type memoryEcho struct{}

func (*memoryEcho) DialContext(context.Context, string, string) (net.Conn, error) {
	a, b := testnet.Pipe(0)
	go func() {
		_, _ = io.CopyBuffer(struct{ io.Writer }{b}, struct{ io.Reader }{b}, make([]byte, 64))
		_ = b.Close()
	}()
	return a, nil
}

// BenchmarkIdleTunnel tells what an idle tunnel costs on 10,000 of them: both ends of
// the hop with the relay that the egress runs, and a local end that waits in Read. In the
// memory that the process has, heap and stacks are parts.
func BenchmarkIdleTunnel(b *testing.B) {
	const tunnels = 10000
	r := &relay.Relay{Router: direct(restingTargets(b))}
	srv := serveTLS(b, testnet.Listen(b), false, tunnelled(r, ConnectOptions{}))
	d := wrap(b, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{})
	for b.Loop() {
		before := memory()
		var conns []net.Conn
		for range tunnels {
			client, err := d.DialContext(b.Context(), "tcp", "a:1")
			if err != nil {
				b.Fatal(err)
			}
			go func() { _, _ = client.Read(make([]byte, 1)) }()
			conns = append(conns, client)
		}
		time.Sleep(2 * time.Second) // they come to rest
		after := memory()
		b.ReportMetric(float64(after.HeapInuse-before.HeapInuse)/tunnels/1024, "heapKiB/tunnel")
		b.ReportMetric(float64(after.StackInuse-before.StackInuse)/tunnels/1024, "stackKiB/tunnel")
		b.ReportMetric(float64(resident(after)-resident(before))/tunnels/1024, "KiB/tunnel")
		for _, c := range conns {
			_ = chain.Abort(c)
		}
	}
}

// restingTargets dials TCP conns on which nothing happens. The system keeps what is at their other
// ends, as nobody accepts them: it takes listeners enough for all to wait.
func restingTargets(b *testing.B) chain.Dialer {
	var addrs []string
	for i := range 8 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.77.0.%d:0", 1+i))
		if err != nil {
			b.Skip(err) // not all of 127/8 is everywhere
		}
		b.Cleanup(func() { _ = l.Close() })
		addrs = append(addrs, l.Addr().String())
	}
	var n atomic.Int32
	return chain.DialerFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", addrs[int(n.Add(1))%len(addrs)])
	})
}

// memory counts when the pools have been emptied.
func memory() (m runtime.MemStats) {
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	runtime.ReadMemStats(&m)
	return m
}

// resident is what the runtime has of the system and has not given back.
func resident(m runtime.MemStats) uint64 { return m.Sys - m.HeapReleased }

func BenchmarkParseHead(b *testing.B) {
	head := []byte("GET http://www.example.com/path/to/something?x=y HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11)\r\n" +
		"Accept: text/html,application/xhtml+xml\r\nAccept-Language: en\r\nCookie: a=b; c=d\r\nConnection: keep-alive\r\n\r\n")
	b.ReportAllocs()
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		end, _, _ := headEnd(head, 0)
		if _, err := parseHead(head[:end]); err != nil {
			b.Fatal(err)
		}
	}
}
