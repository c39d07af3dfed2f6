package hop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"time"
)

// certs are of hosts of all names, of another, and of the past.
type certs struct {
	roots                     *x509.CertPool
	sound, elsewhere, expired *tls.Config
}

var theCerts = sync.OnceValue(func() *certs {
	c := &certs{roots: x509.NewCertPool()}
	issue := func(until time.Time, names ...string) *tls.Config {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
			NotBefore: time.Unix(0, 0), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			panic(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			panic(err)
		}
		c.roots.AddCert(leaf)
		return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}}
	}
	c.sound = issue(time.Unix(1<<32, 0), "hop1", "hop2", "hop3", "hop4")
	c.elsewhere = issue(time.Unix(1<<32, 0), "elsewhere.example")
	c.expired = issue(time.Unix(1, 0), "hop1", "hop2", "hop3", "hop4")
	return c
})
