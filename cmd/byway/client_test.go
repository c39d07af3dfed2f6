package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// onBehalfOf dials as a load balancer does: what it says first is that the client is
// another (PROXY protocol, version 1).
func onBehalfOf(client string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Fprintf(c, "PROXY TCP4 %s 192.0.2.1 1024 1080\r\n", client); err != nil {
			_ = c.Close()
			return nil, err
		}
		return c, nil
	}
}

func udpEcho(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: udpecho NAME")
	}
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	ts.Check(err)
	ts.Defer(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(append([]byte("echo: "), buf[:n]...), from)
		}
	}()
	ts.Setenv(args[0], c.LocalAddr().String())
}

// dialFor connects to addr until the end of the script.
func dialFor(ts *testscript.TestScript, network, addr string) net.Conn {
	c, err := net.Dial(network, addr)
	ts.Check(err)
	ts.Defer(func() { _ = c.Close() })
	ts.Check(c.SetDeadline(time.Now().Add(30 * time.Second)))
	return c
}

// sendUDP is a client of RFC 1928, sections 3, 4 and 7, that shares no code with the server.
func sendUDP(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: udp ADDR TARGET TEXT")
	}
	target, err := netip.ParseAddrPort(args[1])
	ts.Check(err)
	control := dialFor(ts, "tcp", args[0])
	defer control.Close()
	_, err = io.WriteString(control, "\x05\x01\x00"+"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00")
	ts.Check(err)
	var answer [2 + 10]byte
	_, err = io.ReadFull(control, answer[:])
	ts.Check(err)
	reply := answer[2:]
	if refused := reply[1] != 0; refused {
		_, _ = fmt.Fprintf(ts.Stdout(), "refused: reply %d\n", reply[1])
		if !neg {
			ts.Fatalf("udp: refused")
		}
		return
	}
	relay := netip.AddrPortFrom(netip.AddrFrom4([4]byte(reply[4:8])), binary.BigEndian.Uint16(reply[8:]))
	flow := dialFor(ts, "udp", relay.String())
	defer flow.Close()
	header := append([]byte{0, 0, 0, 1}, target.Addr().AsSlice()...)
	header = binary.BigEndian.AppendUint16(header, target.Port())
	_, err = flow.Write(append(header, args[2]...))
	ts.Check(err)
	if neg {
		ts.Fatalf("udp: not refused")
	}
	buf := make([]byte, 64<<10)
	n, err := flow.Read(buf)
	ts.Check(err)
	if n < len(header) || string(buf[:len(header)]) != string(header) {
		ts.Fatalf("udp: %x is not from %s", buf[:n], target)
	}
	_, _ = fmt.Fprintf(ts.Stdout(), "%s\n", buf[len(header):n])
}

// heldKey is that of the conns that are held, a *[]net.Conn, among a script's values.
type heldKey struct{}

func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: hold ADDR [TARGET]")
	}
	c := dialFor(ts, "tcp", args[0])
	held := ts.Value(heldKey{}).(*[]net.Conn)
	*held = append(*held, c)
	if len(args) == 1 {
		return
	}
	_, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", args[1])
	ts.Check(err)
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("hold: %s", resp.Status)
	}
}

func release(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: release")
	}
	held := ts.Value(heldKey{}).(*[]net.Conn)
	for _, c := range *held {
		ts.Check(c.Close())
	}
	*held = nil
}
