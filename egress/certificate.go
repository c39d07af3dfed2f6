package egress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// Names of the files that [MadeCertificate] keeps.
const (
	certificateFile = "certificate.pem"
	keyFile         = "key.pem"
)

// made is how long a certificate made on the spot holds; its clients trust the
// key by its pin, not the date.
const made = 10 * 365 * 24 * time.Hour

// MadeCertificate returns the certificate kept in the folder state, or makes one
// for names (DNS names and IP addresses) and keeps it there. The key stays the same
// over restarts, and so does its [Pin].
func MadeCertificate(state string, names []string) (tls.Certificate, error) {
	certPath, keyPath := filepath.Join(state, certificateFile), filepath.Join(state, keyFile)
	cert, err := tls.LoadX509KeyPair(certPath, keyPath)
	switch {
	case err == nil:
		return cert, nil
	case !errors.Is(err, fs.ErrNotExist):
		return tls.Certificate{}, fmt.Errorf("the certificate kept in %s is not usable: %w; mend it, or remove both files to have a new one made (the pin changes)", state, err)
	}
	if _, err := os.Stat(keyPath); err == nil {
		return tls.Certificate{}, fmt.Errorf("%s exists without a certificate beside it; remove it to have a new pair made (the pin changes)", keyPath)
	}
	certPEM, keyPEM, err := makeCertificate(names, time.Now())
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return tls.Certificate{}, err
	}
	// The certificate goes first: a key alone is what the check above refuses.
	if err := os.WriteFile(certPath, certPEM, 0o600); err != nil {
		return tls.Certificate{}, err
	}
	if err := os.WriteFile(keyPath, keyPEM, 0o600); err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certPEM, keyPEM)
}

// NewCertificate makes a certificate for names that is kept nowhere.
func NewCertificate(names ...string) (tls.Certificate, error) {
	certPEM, keyPEM, err := makeCertificate(names, time.Now())
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certPEM, keyPEM)
}

func makeCertificate(names []string, now time.Time) (certPEM, keyPEM []byte, err error) {
	if len(names) == 0 {
		return nil, nil, errors.New("a certificate needs a name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: names[0]},
		NotBefore:    now.Add(-24 * time.Hour), // clocks of clients differ
		NotAfter:     now.Add(made),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if a, err := netip.ParseAddr(name); err == nil {
			template.IPAddresses = append(template.IPAddresses, a.AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

// Pin returns the SHA-256 of the certificate's SubjectPublicKeyInfo as
// configurations write it: sha256/BASE64.
func Pin(cert tls.Certificate) (string, error) {
	sum, err := PinSum(cert)
	if err != nil {
		return "", err
	}
	return "sha256/" + base64.StdEncoding.EncodeToString(sum[:]), nil
}

// PinSum is [Pin] as bytes.
func PinSum(cert tls.Certificate) ([32]byte, error) {
	if len(cert.Certificate) == 0 {
		return [32]byte{}, errors.New("no certificate")
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(leaf.RawSubjectPublicKeyInfo), nil
}
