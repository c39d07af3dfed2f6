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

// secure does the TLS of a listener that has it, within the limit. It takes nothing
// else: a client that speaks in the clear would go on to send its password so. On
// failure c is closed.
func (l *listener) secure(ctx context.Context, c net.Conn) (net.Conn, error) {
	if l.tls == nil {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	t := tls.Server(c, l.tls)
	err := t.HandshakeContext(ctx)
	if err == nil {
		return t, nil
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && isText(record.RecordHeader[:]) {
		explain(record.Conn)
	}
	_ = c.Close()
	return nil, fmt.Errorf("TLS: %w", err)
}

// isText reports whether b, the first five bytes of a client, may begin the head of a
// request.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
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
