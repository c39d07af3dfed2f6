// Package ssh is the hop through an SSH server: each tunnel is a direct-tcpip
// channel (RFC 4254 §7.2) of one connection that is kept for the next ones.
//
// The server proves itself by a known_hosts file or a pinned host key; there is no
// way to do without. Names travel to it unresolved. When it ends the connection, or
// leaves three keep-alives without an answer, tunnels fail and the next dial
// connects anew.
//
// SSH has no word for an abort: of a tunnel that was cut, the server tells the
// target no more than an end, and we learn no more than an end of a target that was
// cut. A connection that is cut is told from the end of a tunnel, though: after each
// end the server is asked for a sign of life.
package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/byway-proxy/byway/chain"
)

// Options are the options of a hop. User, one of KnownHosts and Pins, and one of
// Keys, Agent and Password are needed.
type Options struct {
	// Name is the hop's name; "" means ssh://host:port.
	Name string

	// User is who logs in. Password answers the method "password", and the single
	// hidden question of "keyboard-interactive".
	User, Password string

	// Keys are the paths of private keys, in OpenSSH's format or PEM; Passphrase
	// opens those that are locked. They are read once.
	Keys       []string
	Passphrase string

	// Agent, unless nil, reaches an SSH agent for each connection. Its keys are
	// offered after Keys.
	Agent func(context.Context) (net.Conn, error)

	// KnownHosts is the path of a file in OpenSSH's format (sshd(8)), read for each
	// connection. Pins are fingerprints as "ssh-keygen -l" shows them, SHA256:…, of
	// which one must be that of the server's key. If both are given, both must hold.
	KnownHosts string
	Pins       []string

	// DialLimit bounds reaching the server, HandshakeLimit the key exchange and the
	// login; 0 means 10 s each. OpenLimit bounds the wait for a tunnel, in which the
	// server does its own dial; 0 means 20 s.
	DialLimit, HandshakeLimit, OpenLimit time.Duration

	// IdleLimit closes a connection without tunnels; 0 means 5 minutes. KeepAlive is
	// how long the server may be silent before it is asked for a sign of life, three
	// times; 0 means 15 s.
	IdleLimit, KeepAlive time.Duration
}

// An OptionError is what is wrong with an option.
type OptionError struct {
	Option string // "known_hosts", "pin[0]", "key[1]", "passphrase"; "" where several are meant
	Err    error
}

func (e *OptionError) Error() string {
	if e.Option == "" {
		return e.Err.Error()
	}
	return e.Option + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *OptionError) Unwrap() error { return e.Err }

// Hop returns the hop through the SSH server at addr, host:port. Its dialer is an
// io.Closer that closes the connection, at once or when its last tunnel ends.
//
// An error is an *OptionError where an option is wrong.
func Hop(addr string, o Options) (chain.Hop, error) {
	if _, err := parseTarget(addr); err != nil {
		return chain.Hop{}, errors.New("the address of an ssh server is host:port")
	}
	o.fill(addr)
	if o.User == "" {
		return chain.Hop{}, &OptionError{Err: errors.New("ssh needs a user")}
	}
	v := verifier{file: o.KnownHosts, pins: o.Pins, addr: addr}
	if err := v.check(); err != nil {
		return chain.Hop{}, err
	}
	signers, err := readKeys(o.Keys, o.Passphrase)
	if err != nil {
		return chain.Hop{}, err
	}
	if len(signers) == 0 && o.Agent == nil && o.Password == "" {
		return chain.Hop{}, &OptionError{Err: errors.New("ssh needs a key, an agent or a password to log in with")}
	}
	return chain.Hop{Name: o.Name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		// Two identities never share a connection.
		return chain.PerIdentity(maxIdentities, func() (chain.Dialer, error) {
			return &dialer{next: next, addr: addr, o: o, verifier: v, signers: signers}, nil
		}), nil
	}}, nil
}

// maxIdentities is how many have a connection of their own at the same time.
const maxIdentities = 64

func (o *Options) fill(addr string) {
	if o.Name == "" {
		o.Name = "ssh://" + addr
	}
	for _, d := range []struct {
		limit     *time.Duration
		otherwise time.Duration
	}{
		{&o.DialLimit, 10 * time.Second},
		{&o.HandshakeLimit, 10 * time.Second},
		{&o.OpenLimit, 20 * time.Second},
		{&o.IdleLimit, 5 * time.Minute},
		{&o.KeepAlive, 15 * time.Second},
	} {
		if *d.limit <= 0 {
			*d.limit = d.otherwise
		}
	}
}

// readKeys reads the private keys at paths.
func readKeys(paths []string, passphrase string) ([]ssh.Signer, error) {
	var signers []ssh.Signer
	locked := false
	for i, path := range paths {
		fail := func(err error) error { return &OptionError{fmt.Sprintf("key[%d]", i), err} }
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fail(err)
		}
		signer, err := ssh.ParsePrivateKey(text)
		if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
			locked = true
			if passphrase == "" {
				return nil, fail(fmt.Errorf("%s is locked; give its passphrase", path))
			}
			signer, err = ssh.ParsePrivateKeyWithPassphrase(text, []byte(passphrase))
		}
		if err != nil {
			return nil, fail(fmt.Errorf("%s cannot be used: %s", path, strings.TrimPrefix(err.Error(), "ssh: ")))
		}
		signers = append(signers, signer)
	}
	if passphrase != "" && !locked {
		return nil, &OptionError{"passphrase", errors.New("no key needs one; remove it")}
	}
	return signers, nil
}
