package socks

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	socks5 "github.com/armon/go-socks5"
)

// StaticUsers is a fixed set of users and passwords. It takes the same work, in
// constant time, to refuse a wrong password and an unknown user. Its zero value,
// and nil, refuse everybody.
type StaticUsers struct {
	salt   [16]byte
	nobody digest
	users  map[digest]digest // salted SHA-256 of the name: of the password
	tokens map[digest]string // of the password: the name, or "" if several share it
}

type digest = [sha256.Size]byte

var _ socks5.CredentialStore = (*StaticUsers)(nil)

// NewUsers makes a set of the passwords given by user. Both must have the length
// that RFC 1929 demands, 1 to 255 bytes.
func NewUsers(passwords map[string]string) (*StaticUsers, error) {
	s := &StaticUsers{users: make(map[digest]digest, len(passwords)), tokens: make(map[digest]string, len(passwords))}
	_, _ = rand.Read(s.salt[:]) // never fails
	_, _ = rand.Read(s.nobody[:])
	for user, password := range passwords {
		if !credentialsFit(user, password) {
			return nil, errors.New("socks: user names and passwords have 1 to 255 bytes")
		}
		secret := s.digest(password)
		s.users[s.digest(user)] = secret
		if _, shared := s.tokens[secret]; shared {
			user = ""
		}
		s.tokens[secret] = user
	}
	return s, nil
}

// Valid reports whether user exists and has that password.
func (s *StaticUsers) Valid(user, password string) bool {
	if s == nil {
		return false
	}
	// Which digests the map compares, and how far, tells nothing about names, as
	// the salt is secret.
	want, known := s.users[s.digest(user)]
	exists := 1
	if !known {
		want, exists = s.nobody, 0
	}
	got := s.digest(password)
	return subtle.ConstantTimeCompare(got[:], want[:])&exists == 1
}

// UserOf returns the user whose password is token, for schemes that carry no name. A
// password that several users share is nobody's.
func (s *StaticUsers) UserOf(token string) (user string, ok bool) {
	if s == nil {
		return "", false
	}
	user = s.tokens[s.digest(token)] // as in Valid, the salt hides what is compared
	return user, user != ""
}

func (s *StaticUsers) digest(text string) digest {
	var room [len(s.salt) + 255]byte
	return sha256.Sum256(append(append(room[:0], s.salt[:]...), text...))
}

// strictUsers refuses what RFC 1929 §2 forbids and armon/go-socks5 lets through:
// an empty name, which would be taken for nobody's, or an empty password.
type strictUsers struct{ socks5.CredentialStore }

func (s strictUsers) Valid(user, password string) bool {
	return s.CredentialStore.Valid(user, password) && credentialsFit(user, password)
}

func credentialsFit(user, password string) bool {
	return len(user) >= 1 && len(user) <= 255 && len(password) >= 1 && len(password) <= 255
}
