package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	proxyproto "github.com/pires/go-proxyproto"

	"github.com/byway-proxy/byway/chain"
)

var errNoTCP = errors.New("PROXY protocol: the client has no TCP address")

// isProxy reports whether c comes from one of those who hand on the conns of
// others, and say so first.
func (p *peers) isProxy(c net.Conn) bool {
	if len(p.proxies) == 0 {
		return false
	}
	at, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := at.AddrPort().Addr().Unmap().WithZone("")
	for _, prefix := range p.proxies {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// unwrap reads the header of the PROXY protocol, version 1 or 2, that a conn from
// one of the proxies begins with, within limit. What is returned reads as c from
// behind it, and its remote address is the client's. A proxy that speaks for itself
// (LOCAL, UNKNOWN) is the client. On failure c is still the caller's.
//
// From everybody else c comes back untouched: there such a header is garbage.
func (p *peers) unwrap(ctx context.Context, c net.Conn, limit time.Duration) (net.Conn, error) {
	if !p.isProxy(c) {
		return c, nil
	}
	var client netip.AddrPort
	var ahead []byte
	err := chain.Handshake(ctx, c, limit, func() (err error) {
		client, ahead, err = readProxyHeader(bufio.NewReader(c))
		return err
	})
	if err != nil {
		return nil, err
	}
	if client.IsValid() {
		c = chain.From(c, net.TCPAddrFromAddrPort(client))
	}
	return chain.Unread(c, ahead), nil
}

// readProxyHeader reads a header, and returns the client's address, the zero one if
// it tells of none, and the bytes that were read too far.
func readProxyHeader(r *bufio.Reader) (client netip.AddrPort, ahead []byte, err error) {
	// The library takes whatever begins with "PROXY" for version 1.
	if b, _ := r.Peek(6); len(b) == 6 && bytes.HasPrefix(b, []byte("PROXY")) && b[5] != ' ' {
		return client, nil, fmt.Errorf("PROXY protocol: %w", proxyproto.ErrNoProxyProtocol)
	}
	h, err := proxyproto.Read(r)
	if err != nil {
		return client, nil, fmt.Errorf("PROXY protocol: %w", err)
	}
	if h.Command == proxyproto.PROXY {
		from, ok := h.SourceAddr.(*net.TCPAddr)
		if !ok {
			return client, nil, errNoTCP
		}
		client = netip.AddrPortFrom(from.AddrPort().Addr().Unmap(), from.AddrPort().Port())
	}
	b, _ := r.Peek(r.Buffered())
	return client, append([]byte(nil), b...), nil
}
