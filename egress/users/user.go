package users

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A User is who may use an egress.
type User struct {
	Name     string    `json:"name"`
	Disabled bool      `json:"disabled,omitempty"`
	Expires  time.Time `json:"expires,omitzero"` // is a stranger from then on; zero for never
	Made     time.Time `json:"made,omitzero"`
	Tokens   []Token   `json:"tokens"` // any of which proves the user
	Limits
}

// Limits bound what a user may do; the zero value does not.
type Limits struct {
	// Allow and Deny say where tunnels may lead, in a grammar that is not this package's:
	// if there is any Allow, to nothing else, and never to a Deny.
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`

	Rate    int64 `json:"rate,omitempty"`      // bytes a second, up and down each, of all tunnels together
	Day     int64 `json:"day,omitempty"`       // bytes up and down together in a day (UTC)
	Month   int64 `json:"month,omitempty"`     // in a month (UTC)
	Tunnels int   `json:"tunnels,omitempty"`   // at a time
	Flows   int   `json:"udp_flows,omitempty"` // of datagrams, at a time
}

// A Token is what is kept of a token: no more than is needed to know it again.
type Token struct {
	Hash  Hash      `json:"hash,omitzero"`
	Until time.Time `json:"until,omitzero"` // good until then; zero for no end
}

// A Hash is the SHA-256 of a token. Tokens have 192 random bits (see [NewToken]), so a
// fast hash without a salt tells nothing about them.
type Hash [sha256.Size]byte

// HashOf returns the hash of a token of at most maxCredential bytes. The work is the same for
// all: what is hashed is padded with zero bytes.
func HashOf(token string) Hash {
	var block [maxCredential]byte
	copy(block[:], token)
	return sha256.Sum256(block[:])
}

// MarshalText returns h in base64.
func (h Hash) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText reads what MarshalText returns.
func (h *Hash) UnmarshalText(text []byte) error {
	b, err := base64.RawURLEncoding.AppendDecode(nil, text)
	if err == nil && len(b) != len(h) {
		err = errors.New("not a SHA-256")
	}
	if err == nil {
		copy(h[:], b)
	}
	return err
}

// good reports whether the token, of a user in good standing, is good at a time.
func (t *Token) good(now time.Time) bool { return t.Until.IsZero() || now.Before(t.Until) }

// standing reports whether u may come in at a time.
func (u *User) standing(now time.Time) bool {
	return !u.Disabled && (u.Expires.IsZero() || now.Before(u.Expires))
}

// check refuses names that links, files and commands could not carry, and limits that make no sense.
func (u *User) check() error {
	odd := func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@+", r)
	}
	switch {
	case u.Name == "" || len(u.Name) > 64 || strings.ContainsFunc(u.Name, odd) || strings.ContainsAny(u.Name[:1], "-."):
		return fmt.Errorf("user %q: a name has 1 to 64 letters, digits and . _ - @ +, and begins with neither - nor a dot", u.Name)
	case u.Rate < 0 || u.Day < 0 || u.Month < 0 || u.Tunnels < 0 || u.Flows < 0:
		return fmt.Errorf("user %q: a limit is negative; leave it out for none", u.Name)
	case u.Rate > 0 && u.Rate < 1<<10:
		return fmt.Errorf("user %q: a rate below 1 KiB a second serves nobody; disable the user instead", u.Name)
	}
	return nil
}

// Usage is what a user has moved, in bytes.
type Usage struct {
	Up    int64  `json:"up"` // ever, from the client
	Down  int64  `json:"down"`
	Today int64  `json:"today"` // up and down together, on the day of Date
	Month int64  `json:"month"` // in the month of Date
	Date  string `json:"date"`  // of UTC, like 2006-01-02
}

// at returns u as it is on a date.
func (u Usage) at(date string) Usage {
	if u.Date == date {
		return u
	}
	u.Today = 0
	if len(u.Date) < 7 || u.Date[:7] != date[:7] {
		u.Month = 0
	}
	u.Date = date
	return u
}

// plus returns u and what came to pass between two other states. The date is that of now.
func (u Usage) plus(before, now Usage) Usage {
	u, before = u.at(now.Date), before.at(now.Date)
	u.Up += now.Up - before.Up
	u.Down += now.Down - before.Down
	u.Today += now.Today - before.Today
	u.Month += now.Month - before.Month
	return u
}

func dateOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// endOf returns the end of the day of t.
func endOf(t time.Time) time.Time {
	y, m, d := t.UTC().Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
}

// clean reports whether a name or token can stand in a header field as it is.
func clean(s string) bool { return !bytes.ContainsAny([]byte(s), "\x00\r\n") }
