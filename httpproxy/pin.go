package httpproxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
)

// ErrPin is the error of a TLS peer whose key is none of those pinned.
var ErrPin = errors.New("the certificate's key is not the pinned one")

// PinSPKI makes cfg accept only peers whose certificate has a public key of which
// the SHA-256 of the SubjectPublicKeyInfo (RFC 7469 §2.4) is among pins. It must
// be called after cfg.RootCAs and cfg.VerifyConnection are set.
//
// With cfg.RootCAs, the certificate must be valid for the server's name as well.
// Without, the pin alone authenticates the peer: neither the chain, the name nor
// the dates are looked at, so that a self-made certificate will do. No pins refuse
// every peer.
func PinSPKI(cfg *tls.Config, pins ...[sha256.Size]byte) {
	if cfg.RootCAs == nil {
		cfg.InsecureSkipVerify = true
	}
	before := cfg.VerifyConnection
	// VerifyConnection is called for resumed sessions also, unlike
	// VerifyPeerCertificate.
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if before != nil {
			if err := before(s); err != nil {
				return err
			}
		}
		if len(s.PeerCertificates) == 0 {
			return ErrPin
		}
		got := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
		match := 0
		for _, pin := range pins {
			match |= subtle.ConstantTimeCompare(got[:], pin[:])
		}
		if match != 1 {
			return ErrPin
		}
		return nil
	}
}
