package local

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/socks"
)

// listenerTLS returns the TLS of listener i and the certificate it shows, or nil for
// one that takes clients in the clear.
func listenerTLS(c *configs.Client, i int) (*tls.Config, *x509.Certificate, error) {
	t := &c.Listeners[i].TLS
	if t.Certificate == "" {
		return nil, nil, nil
	}
	cert, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil {
		return nil, nil, c.Errorf(fmt.Sprintf("listen[%d].tls.certificate", i), "the certificate and its key cannot be used: %w", err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}, cert.Leaf, nil
}

var errInTheClear = errors.New("a client in the clear, where TLS is asked for")

// greet waits for the first bytes of a client, those within TLS if r has that, and
// tells what it speaks. On failure c is still the caller's.
func (r *role) greet(ctx context.Context, c net.Conn) (protocol, net.Conn, error) {
	if r.tls != nil {
		var err error
		if c, err = r.secure(ctx, c); err != nil {
			return 0, nil, err
		}
	}
	return sniff(c, r.limit)
}

// secure does the TLS, within the limit. It takes nothing else: a client that speaks
// in the clear would go on to send its password so.
func (r *role) secure(ctx context.Context, c net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	speaks, c, err := sniff(c, r.limit)
	switch {
	case err != nil:
		return nil, err
	case speaks == speaksTLS:
		t := tls.Server(c, r.tls)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
		return t, nil
	case speaks == speaksHTTP:
		explain(c)
	}
	return nil, errInTheClear
}

const plainText = "this proxy takes TLS alone: write https:// before its address\n"

// explain tells a client that speaks HTTP in the clear, within a second.
func explain(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, err := fmt.Fprintf(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"+
		"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", len(plainText), plainText)
	if err != nil || chain.CloseWrite(c) != nil {
		return
	}
	// To close with bytes unread would destroy the answer.
	_, _ = io.CopyN(io.Discard, c, 64<<10)
}

// noDatagrams refuses UDP ASSOCIATE: the datagrams would pass beside the TLS.
func noDatagrams(context.Context, string) (socks.PacketSocket, error) {
	return nil, syscall.EOPNOTSUPP
}
