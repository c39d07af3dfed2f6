//go:build interop

package interop

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// The clients here are written for these tests alone, from the RFCs and with
// nothing of byway's, lest a misreading be on both sides.

// dialLimit bounds the opening of a tunnel by a test's own client.
const dialLimit = 20 * time.Second

// duplex is a conn whose directions end one by one.
type duplex interface {
	net.Conn
	CloseWrite() error
}

// dialFunc opens a tunnel to target, host:port.
type dialFunc func(ctx context.Context, target string) (duplex, error)

// direct is how to reach p without byway.
func (p peer) direct() dialFunc {
	return func(ctx context.Context, target string) (duplex, error) {
		switch p.scheme {
		case "socks4a":
			return dialSOCKS4a(ctx, p.addr, target)
		case "http", "https":
			return dialHTTP(ctx, p, target)
		}
		return dialSOCKS5(ctx, p.addr, p.user, p.secret, target)
	}
}

// replyError is a proxy's refusal: a SOCKS reply code or an HTTP status.
type replyError int

func (e replyError) Error() string { return fmt.Sprintf("the proxy refused: %d", int(e)) }

// errCredentials is a SOCKS5 server's word for a wrong password.
var errCredentials = errors.New("the proxy refused the credentials")

// opened gives a handshake on a new conn to addr its limit.
func opened(ctx context.Context, addr string, handshake func(duplex) (duplex, error)) (duplex, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	limit, _ := ctx.Deadline()
	_ = c.SetDeadline(limit)
	d, err := handshake(c.(*net.TCPConn))
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return d, c.SetDeadline(time.Time{})
}

// dialSOCKS5 is the client of RFC 1928 and 1929, one step at a time. A host that is
// no address goes as a name.
func dialSOCKS5(ctx context.Context, proxy, user, secret, target string) (duplex, error) {
	return opened(ctx, proxy, func(c duplex) (duplex, error) {
		method := byte(0)
		if user != "" {
			method = 2
		}
		if got, err := ask(c, []byte{5, 1, method}, 2); err != nil || got[1] != method {
			return nil, errors.Join(err, fmt.Errorf("method % x", got))
		}
		if user != "" {
			login := append([]byte{1, byte(len(user))}, user...)
			login = append(append(login, byte(len(secret))), secret...)
			got, err := ask(c, login, 2)
			if err != nil {
				return nil, err
			}
			if got[1] != 0 {
				return nil, errCredentials
			}
		}
		host, port, err := split(target)
		if err != nil {
			return nil, err
		}
		request := []byte{5, 1, 0, 3, byte(len(host))}
		if ip := net.ParseIP(host).To4(); ip != nil {
			request = append([]byte{5, 1, 0, 1}, ip...)
		} else {
			request = append(request, host...)
		}
		got, err := ask(c, binary.BigEndian.AppendUint16(request, port), 4)
		switch {
		case err != nil:
			return nil, err
		case got[1] != 0:
			return nil, replyError(got[1])
		case got[3] != 1 && got[3] != 4:
			return nil, fmt.Errorf("a bound address of type %d", got[3])
		}
		_, err = ask(c, nil, map[byte]int{1: 6, 4: 18}[got[3]])
		return c, err
	})
}

// dialSOCKS4a is the client of SOCKS4, and of 4a where the host is no address.
func dialSOCKS4a(ctx context.Context, proxy, target string) (duplex, error) {
	return opened(ctx, proxy, func(c duplex) (duplex, error) {
		host, port, err := split(target)
		if err != nil {
			return nil, err
		}
		request := binary.BigEndian.AppendUint16([]byte{4, 1}, port)
		if ip := net.ParseIP(host).To4(); ip != nil {
			request = append(append(request, ip...), 0)
		} else {
			request = append(append(request, 0, 0, 0, 1, 0), host...)
			request = append(request, 0)
		}
		got, err := ask(c, request, 8)
		if err == nil && got[1] != 90 {
			err = replyError(got[1])
		}
		return c, err
	})
}

// dialHTTP sends a CONNECT by HTTP/1.1, inside TLS for an https peer.
func dialHTTP(ctx context.Context, p peer, target string) (duplex, error) {
	return opened(ctx, p.addr, func(c duplex) (duplex, error) {
		if p.scheme == "https" {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // the hop's pin is tested by byway itself
		}
		request := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
		if p.user != "" {
			request += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.user+":"+p.secret)) + "\r\n"
		}
		if _, err := io.WriteString(c, request+"\r\n"); err != nil {
			return nil, err
		}
		var head []byte
		for !strings.HasSuffix(string(head), "\r\n\r\n") {
			b, err := ask(c, nil, 1)
			if err != nil || len(head) > 8<<10 {
				return nil, fmt.Errorf("after %q: %w", head, err)
			}
			head = append(head, b...)
		}
		fields := strings.Fields(string(head))
		status, err := strconv.Atoi(fields[1])
		if err == nil && status != 200 {
			err = replyError(status)
		}
		return c, err
	})
}

// ask writes b and reads n bytes.
func ask(c net.Conn, b []byte, n int) ([]byte, error) {
	answer := make([]byte, n)
	if len(b) > 0 {
		if _, err := c.Write(b); err != nil {
			return answer, err
		}
	}
	_, err := io.ReadFull(c, answer)
	return answer, err
}

func split(target string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(target)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return host, uint16(n), err
}
