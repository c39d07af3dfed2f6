// Command masque is the MASQUE proxy and client of masque-go, to be tested against. It is a module of
// its own, since it is built with another version of quic-go.
//
//	masque proxy                                   prints "proxy ADDRESS PIN" and serves
//	masque client ADDRESS AUTHORIZATION TARGET     sends three datagrams to an echo
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/quic-go/masque-go"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/yosida95/uritemplate/v3"
)

func main() {
	err := errors.New("usage: masque proxy | masque client ADDRESS AUTHORIZATION TARGET")
	switch {
	case len(os.Args) == 2 && os.Args[1] == "proxy":
		err = proxy()
	case len(os.Args) == 5 && os.Args[1] == "client":
		err = client(os.Args[2], os.Args[3], os.Args[4])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func template(addr string) *uritemplate.Template {
	return uritemplate.MustNew("https://" + addr + "/.well-known/masque/udp/{target_host}/{target_port}/")
}

func proxy() error {
	cert, pin, err := certificate()
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	addr := conn.LocalAddr().String()
	var p masque.Proxy
	s := &http3.Server{
		TLSConfig:       http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}}),
		QUICConfig:      &quic.Config{EnableDatagrams: true},
		EnableDatagrams: true,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q, err := masque.ParseProxyRequest(r, template(addr))
			if err != nil {
				var bad *masque.ProxyRequestParseError
				errors.As(err, &bad)
				w.WriteHeader(bad.HTTPStatus)
				return
			}
			if err := p.Proxy(w, q); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}),
	}
	fmt.Println("proxy", addr, pin)
	return s.Serve(conn)
}

func client(addr, authorization, target string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	q, err := masque.NewRequest(ctx, template(addr), target)
	if err != nil {
		return err
	}
	q.Header().Set("Proxy-Authorization", authorization)
	t := masque.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}}
	c, resp, err := t.Dial(q)
	if err != nil {
		if resp != nil {
			fmt.Println("status", resp.StatusCode)
		}
		return err
	}
	defer c.Close()
	for _, size := range []int{5, 1, 1200} {
		want := bytes.Repeat([]byte{'x'}, size)
		if _, err := c.WriteTo(want, c.RemoteAddr()); err != nil {
			return err
		}
		buf := make([]byte, 2000)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, _, err := c.ReadFrom(buf)
		if err != nil || !bytes.Equal(buf[:n], want) {
			return fmt.Errorf("%d bytes came back of %d: %w", n, size, err)
		}
	}
	fmt.Println("echoed")
	return nil
}

func certificate() (cert tls.Certificate, pin string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, "", err
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		return cert, "", err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return cert, "", err
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, "sha256/" + base64.StdEncoding.EncodeToString(sum[:]), nil
}
