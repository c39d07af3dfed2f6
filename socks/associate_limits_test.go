package socks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// TestAssociateIdles: a flow ends after its limit, the association does not.
func TestAssociateIdles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed atomic.Int32
		r := newUDPRig(t, 0, func(s *Server) {
			s.Relay.FlowIdleLimit = 20 * time.Second
			s.Relay.Trace = &relay.Trace{Closed: func(q relay.Request, _ relay.Decision, st relay.Stats) {
				closed.Add(1)
				if st.Err != nil || st.Lasted != 20*time.Second || q.Network != "udp" || q.Addr != udpTarget+":53" {
					t.Errorf("%+v, %+v", q, st)
				}
			}}
		})
		target := r.socket(udpTarget, ":53")
		for range 2 {
			r.send(r.sock, to4+"x")
			if got, _ := received(t, target); got != "x" {
				t.Errorf("the target got %q", got)
			}
			time.Sleep(19 * time.Second)
			if r.server.Relay.Live() != 1 {
				t.Error("the flow ended early")
			}
			time.Sleep(2 * time.Second)
			if r.server.Relay.Live() != 0 {
				t.Error("the flow lives on")
			}
		}
		time.Sleep(time.Hour)
		r.end(target)
		if closed.Load() != 2 {
			t.Errorf("%d flows ended", closed.Load())
		}
	})
}

// TestAssociateRoutesEachFlow: block, a failure, and a chain that carries no UDP hold
// for their targets alone; and what failed is not dialled for each datagram.
func TestAssociateRoutesEachFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		failed := make(map[string]int)
		r := newUDPRig(t, 0, func(s *Server) {
			s.Relay.Router = byPort{s.Relay.Router.(scout), t}
			s.Relay.Trace = &relay.Trace{Failed: func(q relay.Request, _ relay.Decision, err error) {
				mu.Lock()
				defer mu.Unlock()
				_, port, _ := net.SplitHostPort(q.Addr)
				failed[port+" "+chain.Errno(err).Error()]++
			}}
		})
		target, blocked := r.socket(udpTarget, ":53"), r.socket(udpTarget, ":54")
		tcpOnly := r.socket(udpTarget, ":55")
		for range 100 {
			r.send(r.sock, to4[:9]+"\x36x")
			r.send(r.sock, to4[:9]+"\x37x")
		}
		r.send(r.sock, to4+"y")
		if got, _ := received(t, target); got != "y" {
			t.Errorf("the target got %q", got)
		}
		for _, s := range []*testnet.Socket{blocked, tcpOnly} {
			if got, _ := received(t, s); got != "" {
				t.Errorf("%q went around the rules", got)
			}
		}
		time.Sleep(2 * time.Second)
		r.send(r.sock, to4[:9]+"\x36x")
		synctest.Wait()
		r.end(target, blocked, tcpOnly)
		mu.Lock()
		defer mu.Unlock()
		if failed["54 "+syscall.EACCES.Error()] != 2 || failed["55 "+syscall.EOPNOTSUPP.Error()] != 1 || len(failed) != 2 {
			t.Errorf("failures: %v", failed)
		}
	})
}

// byPort blocks port 54, and has a hop without UDP for port 55.
type byPort struct {
	scout
	t *testing.T
}

func (b byPort) Route(ctx context.Context, q relay.Request) relay.Decision {
	switch _, port, _ := net.SplitHostPort(q.Addr); port {
	case "54":
		return relay.Decision{}
	case "55":
		return relay.Decision{Dialer: newChain(b.t, testnet.NoDial(b.t), Hop4a("hop:1", HopOptions{})), Via: "tcp"}
	}
	return b.scout.Route(ctx, q)
}

// TestAssociateBounds: the flow not used for longest makes room, in an association
// and in all.
func TestAssociateBounds(t *testing.T) {
	for name, bounds := range map[string]*Flows{"association": {PerAssociation: 3}, "total": {Total: 3}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newUDPRig(t, 0, func(s *Server) { s.Flows = bounds })
				var targets []*testnet.Socket
				for i := range byte(6) {
					targets = append(targets, r.socket(udpTarget, fmt.Sprintf(":%d", 53+i)))
					time.Sleep(time.Second)
					r.send(r.sock, to4) // always in use
					r.send(r.sock, to4[:9]+string([]byte{0x35 + i})+"x")
					synctest.Wait()
					if got := r.server.Relay.Live(); got != min(int(i)+1, 3) {
						t.Errorf("%d flows after %d targets", got, i+1)
					}
				}
				var source net.Addr
				for n := 0; ; n++ {
					_, from := received(t, targets[0])
					if from == nil {
						break
					}
					if source != nil && from.String() != source.String() {
						t.Error("the flow in use was ended")
					}
					source = from
				}
				r.end(targets...)
				if got := bounds.live.Load(); got != 0 {
					t.Errorf("%d places are not given back", got)
				}
			})
		})
	}
}

// TestAssociateNoRoom: another association has all the flows.
func TestAssociateNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bounds := &Flows{Total: 1}
		bounds.take()
		r := newUDPRig(t, 0, func(s *Server) { s.Flows = bounds })
		target := r.socket(udpTarget, ":53")
		r.send(r.sock, to4+"x")
		if got, _ := received(t, target); got != "" || bounds.live.Load() != 1 {
			t.Errorf("%q went through, %d live", got, bounds.live.Load())
		}
		r.end(target)
	})
}

// TestAssociateTooMany: other associations have all the places, and one is free when one ends.
func TestAssociateTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		bounds := &Flows{Total: 1}
		bounds.enter()
		s := &Server{Flows: bounds, Relay: &relay.Relay{Router: scout{carrier{testnet.NoDial(t)}}}}
		s.ListenPacket = func(context.Context, string) (PacketSocket, error) { return nil, syscall.EOPNOTSUPP }
		listen(t, n, udpServer, ":1080", serving(t, s))
		ask := func() string {
			c, err := n.Host(udpClient).DialContext(t.Context(), "tcp", udpServer+":1080")
			must(t, err)
			_, err = c.Write([]byte(hello + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"))
			must(t, err)
			got, err := io.ReadAll(c)
			must(t, err)
			must(t, c.Close())
			synctest.Wait()
			return string(got)
		}
		if got := ask(); got != "\x05\x00"+no(1) {
			t.Errorf("answered %q", got)
		}
		bounds.leave()
		for range 2 { // a socket that can't be had gives its place back
			if got := ask(); got != "\x05\x00"+no(7) {
				t.Errorf("answered %q where there is room", got)
			}
		}
		if n := bounds.associations.Load(); n != 0 {
			t.Errorf("%d places are taken", n)
		}
	})
}

// TestAssociateRefused: what is answered, and that nothing is dialled or listened on.
func TestAssociateRefused(t *testing.T) {
	busy := func(context.Context, string) (PacketSocket, error) { return nil, syscall.EMFILE }
	for name, test := range map[string]struct {
		router relay.Router
		listen func(context.Context, string) (PacketSocket, error)
		from   string
		answer string
	}{
		"a router that says nothing":  {relay.RouterFunc(scout{carrier{testnet.NoDial(t)}}.Route), nil, udpClient, no(7)},
		"a dialer that says nothing":  {scout{testnet.NoDial(t)}, nil, udpClient, no(7)},
		"a chain without UDP":         {scout{newChain(t, carrier{testnet.NoDial(t)}, Hop4("hop:1", HopOptions{}))}, nil, udpClient, no(7)},
		"a base without UDP":          {scout{newChain(t, testnet.NoDial(t), Hop5("hop:1", HopOptions{}))}, nil, udpClient, no(7)},
		"nothing":                     {nil, nil, udpClient, no(7)},
		"a client without an address": {scout{carrier{testnet.NoDial(t)}}, nil, "somebody", no(7)},
		"no socket":                   {scout{carrier{testnet.NoDial(t)}}, busy, udpClient, no(1)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New()
				s := &Server{Relay: &relay.Relay{Router: test.router}, ListenPacket: test.listen}
				listen(t, n, udpServer, ":1080", serving(t, s))
				c, err := n.Host(test.from).DialContext(t.Context(), "tcp", udpServer+":1080")
				must(t, err)
				_, err = c.Write([]byte(hello + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"))
				must(t, err)
				began := time.Now()
				if got, err := io.ReadAll(c); string(got) != "\x05\x00"+test.answer || err != nil || time.Since(began) > defaultLimit {
					t.Errorf("answered %q, %v after %v", got, err, time.Since(began))
				}
				must(t, c.Close())
			})
		})
	}
}

// TestAssociateBrokenSocket: a socket that fails for good ends the association.
func TestAssociateBrokenSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUDPRig(t, 0, func(s *Server) {
			open := s.ListenPacket
			s.ListenPacket = func(ctx context.Context, host string) (PacketSocket, error) {
				p, err := open(ctx, host)
				return brokenSocket{p}, err
			}
		})
		if n, err := r.control.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("the client's conn goes on: %d bytes, %v", n, err)
		}
		<-r.served
		must(t, r.control.Close())
		must(t, r.sock.Close())
	})
}

type brokenSocket struct{ PacketSocket }

func (brokenSocket) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, syscall.ENETDOWN
}

// TestAssociateEndsWithItsContext: as when a server is shut down.
func TestAssociateEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		s := &Server{Relay: &relay.Relay{Router: scout{n.Host(udpServer)}}, ListenPacket: onHost(n)}
		near, far := testnet.AddressedPipe(udpClient+":7", udpServer+":1080")
		_, err := near.Write([]byte(hello + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"))
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		began := time.Now()
		if err := s.ServeConn(ctx, far); !errors.Is(err, net.ErrClosed) || time.Since(began) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		must(t, near.Close())
	})
}
