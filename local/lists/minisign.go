package lists

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"

	"golang.org/x/crypto/blake2b"
)

// A Key is a public key of minisign (https://jedisct1.github.io/minisign/).
type Key struct {
	id  [8]byte
	key ed25519.PublicKey
}

// ParseKey reads a public key: the 56 characters that minisign shows, which are the
// last line of its file.
func ParseKey(s string) (*Key, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(s))
	if err != nil || len(b) != 2+8+ed25519.PublicKeySize || string(b[:2]) != "Ed" {
		return nil, errors.New(`is not a minisign public key; copy the line that begins with "RW"`)
	}
	return &Key{[8]byte(b[2:10]), ed25519.PublicKey(b[10:])}, nil
}

var (
	errSignature = errors.New("not a minisign signature")
	errOtherKey  = errors.New("made by another key")
	errForged    = errors.New("does not fit the list")
)

// Verify returns an error unless signature, a file of minisign's, is one of message
// by the key: over the message itself ("Ed"), or its BLAKE2b-512 ("ED"), and over the
// trusted comment.
func (k *Key) Verify(message, signature []byte) error {
	lines := strings.SplitN(strings.ReplaceAll(string(signature), "\r\n", "\n"), "\n", 5)
	if len(lines) < 4 || !strings.HasPrefix(lines[0], "untrusted comment:") {
		return errSignature
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(lines[1])
	comment, ok := strings.CutPrefix(lines[2], "trusted comment: ")
	global, gerr := base64.StdEncoding.Strict().DecodeString(lines[3])
	if err != nil || gerr != nil || !ok || len(sig) != 2+8+ed25519.SignatureSize || len(global) != ed25519.SignatureSize {
		return errSignature
	}
	if !bytes.Equal(sig[2:10], k.id[:]) {
		return errOtherKey
	}
	switch string(sig[:2]) {
	case "ED":
		sum := blake2b.Sum512(message)
		message = sum[:]
	case "Ed":
	default:
		return errSignature
	}
	if !ed25519.Verify(k.key, message, sig[10:]) || !ed25519.Verify(k.key, append(bytes.Clone(sig[10:]), comment...), global) {
		return errForged
	}
	return nil
}
