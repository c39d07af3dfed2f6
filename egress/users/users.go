// Package users holds who may use an egress, and tells a good credential from
// all others in the same time and by the same work.
package users

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// MinToken is the least length of a token. Tokens are meant to be made by
// [NewToken], and are compared by a fast hash: a short one could be guessed.
const MinToken = 16

// maxCredential bounds the part of a field's value that is looked at.
const maxCredential = 1024

// nobody is decoded where there is nothing to decode, so that it takes as long: as much as
// a user and a token of [NewToken].
const nobody = "bm9ib2R5OjAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw"

// A Set is an immutable set of users and their tokens. Its zero value knows nobody.
type Set struct {
	key   [32]byte
	names []string
	basic [][sha256.Size]byte // MACs of what "Basic" carries
	token [][sha256.Size]byte // MACs of what "Bearer" carries
}

// New returns the set of users of tokens, which is by name. It must not be empty.
func New(tokens map[string]string) (*Set, error) {
	if len(tokens) == 0 {
		return nil, errors.New("no users: without a credential nobody may pass, and an open proxy it must not be")
	}
	s := &Set{}
	if _, err := rand.Read(s.key[:]); err != nil {
		return nil, err
	}
	for name, token := range tokens {
		switch {
		case name == "" || strings.ContainsAny(name, ":\x00"):
			return nil, fmt.Errorf("user %q: the name is empty or has a colon", name)
		case len(token) < MinToken:
			return nil, fmt.Errorf("user %q: the token is shorter than %d characters; let \"byway egress init\" make one", name, MinToken)
		case len(name)+1+len(token) > maxCredential*3/4:
			return nil, fmt.Errorf("user %q: name and token are too long", name)
		}
		s.names = append(s.names, name)
		s.basic = append(s.basic, s.mac("basic", name+":"+token))
		s.token = append(s.token, s.mac("bearer", token))
	}
	return s, nil
}

// NewToken returns a fresh token of 192 random bits.
func NewToken() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// Verify returns the user whose credential fields holds: the values of a
// request's Proxy-Authorization fields, of which there must be exactly one, Basic
// (RFC 7617) or Bearer (RFC 6750). The work is the same for a good, wrong,
// unknown, malformed or missing one.
func (s *Set) Verify(fields []string) (user string, ok bool) {
	var value string
	if len(fields) == 1 && len(fields[0]) <= maxCredential {
		value = fields[0]
	}
	scheme, rest, _ := strings.Cut(value, " ")
	rest = strings.Trim(rest, " ")
	coded, isBasic := nobody, strings.EqualFold(scheme, "basic")
	if isBasic {
		coded = rest
	}
	raw, err := base64.StdEncoding.DecodeString(coded)
	kind, credential, known := "none", string(raw), s.basic
	switch {
	case isBasic && err == nil:
		kind = "basic"
	case strings.EqualFold(scheme, "bearer"):
		kind, credential, known = "bearer", rest, s.token
	}
	got := s.mac(kind, credential)
	found := -1
	for i := range known {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(got[:], known[i][:]), i, found)
	}
	if found < 0 {
		return "", false
	}
	return s.names[found], true
}

// mac hashes a block of one size, whatever the credential.
func (s *Set) mac(kind, credential string) (sum [sha256.Size]byte) {
	var block [16 + maxCredential]byte
	copy(block[:16], kind)
	copy(block[16:], credential)
	h := hmac.New(sha256.New, s.key[:])
	_, _ = h.Write(block[:])
	h.Sum(sum[:0])
	return sum
}
