package ssh

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// verifier tells whether a server is the one that is meant.
type verifier struct {
	file string // known_hosts
	pins []string
	addr string
}

// check finds what is wrong with the options.
func (v *verifier) check() error {
	if v.file == "" && len(v.pins) == 0 {
		return &OptionError{Err: errors.New(`nothing says which host key is the server's; give known_hosts, or pin = "SHA256:..."`)}
	}
	for i, pin := range v.pins {
		if err := CheckPin(pin); err != nil {
			return &OptionError{fmt.Sprintf("pin[%d]", i), err}
		}
	}
	if _, err := v.prepare(); err != nil {
		return &OptionError{"known_hosts", err}
	}
	return nil
}

const pinPrefix = "SHA256:"

// CheckPin returns an error unless s is a fingerprint of a host key as "ssh-keygen
// -l" shows it.
func CheckPin(s string) error {
	text, ok := strings.CutPrefix(s, pinPrefix)
	if !ok {
		return errors.New(`does not start with "SHA256:"; write the fingerprint that "ssh-keygen -l" shows`)
	}
	sum, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil || len(sum) != 32 || strings.ContainsAny(text, "\r\n") {
		return errors.New(`is not "SHA256:" and 43 characters of base64; copy the whole fingerprint`)
	}
	return nil
}

// A verification is one connection's. Its callback keeps why it refused.
type verification struct {
	v      *verifier
	known  ssh.HostKeyCallback   // nil without a file
	algos  []string              // for the host key; nil means the library's
	refuse atomic.Pointer[error] // the server may exchange keys again at any time
}

// prepare reads the file.
func (v *verifier) prepare() (*verification, error) {
	x := &verification{v: v}
	if v.file == "" {
		return x, nil
	}
	text, err := os.ReadFile(v.file)
	if err != nil {
		return nil, err
	}
	x.known, err = knownhosts.New(v.file)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "knownhosts: "))
	}
	x.algos = v.algorithms(x.known, bytes.Contains(text, []byte("@cert-authority")))
	return x, nil
}

// algorithms are those of the keys that are known of the server: with others it
// might show a key that is no less its own, and unknown.
func (v *verifier) algorithms(known ssh.HostKeyCallback, authorities bool) []string {
	nobody, err := ssh.NewPublicKey(make(ed25519.PublicKey, ed25519.PublicKeySize))
	if err != nil {
		return nil
	}
	var e *knownhosts.KeyError
	if !errors.As(known(v.addr, noAddr, nobody), &e) || len(e.Want) == 0 {
		return nil // an unknown server may show what it likes, for the message
	}
	var algos []string
	for _, a := range ssh.SupportedAlgorithms().HostKeys {
		if authorities && strings.Contains(a, "-cert-") {
			algos = append(algos, a)
		}
	}
	for _, k := range e.Want {
		add := []string{k.Key.Type()}
		if add[0] == ssh.KeyAlgoRSA {
			add = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256} // SHA-1 is no proof
		}
		for _, a := range add {
			if !slices.Contains(algos, a) {
				algos = append(algos, a)
			}
		}
	}
	return algos
}

// noAddr stands for the address of the server, which a chain does not know.
var noAddr = &net.TCPAddr{IP: net.IPv4zero, Port: 22}

// hostKey is the ssh.HostKeyCallback. It refuses all that it does not know.
func (x *verification) hostKey(_ string, _ net.Addr, key ssh.PublicKey) error {
	err := x.judge(key)
	if err != nil {
		x.refuse.Store(&err)
	}
	return err
}

func (x *verification) judge(key ssh.PublicKey) error {
	shown := key.Type() + " " + ssh.FingerprintSHA256(key)
	if len(x.v.pins) > 0 && !slices.Contains(x.v.pins, ssh.FingerprintSHA256(key)) {
		return fmt.Errorf("the server's host key is %s, and that is not pinned: this may be another server, or one in between; "+
			"if you know this key for its own, pin it", shown)
	}
	if x.known == nil {
		if len(x.v.pins) == 0 {
			return errors.New("nothing says which host key is the server's")
		}
		return nil
	}
	err := x.known(x.v.addr, noAddr, key)
	var unknown *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &revoked):
		return fmt.Errorf("the server's host key %s is revoked by %s:%d: do not trust this server", shown, revoked.Revoked.Filename, revoked.Revoked.Line)
	case errors.As(err, &unknown) && len(unknown.Want) == 0:
		return fmt.Errorf("the server is not in %s; if you know %s for its host key, add it there (ssh-keyscan prints the line)", x.v.file, shown)
	case errors.As(err, &unknown):
		var places []string
		for _, k := range unknown.Want {
			places = append(places, fmt.Sprintf("%s:%d", k.Filename, k.Line))
		}
		return fmt.Errorf("the server's host key is %s, and that is not the key in %s: this may be another server, or one in between; "+
			"if its key was changed on purpose, correct that line", shown, strings.Join(places, ", "))
	}
	return fmt.Errorf("the server's host key %s is refused: %w", shown, err)
}
