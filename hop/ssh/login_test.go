package ssh

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// withAgent gives an agent that holds the key at path.
func withAgent(t *testing.T, path string) func(context.Context) (net.Conn, error) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	return func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			_ = agent.ServeAgent(ring, far)
			_ = far.Close()
		}()
		return near, nil
	}
}

// TestLogin tries each way to log in, and to know the server.
func TestLogin(t *testing.T) {
	s := serve(t, testnet.Listen(t), echo(t))
	_, stranger := newKey(t, "")
	other, _ := newKey(t, "")
	pin, otherPin := ssh.FingerprintSHA256(s.host.PublicKey()), ssh.FingerprintSHA256(other.PublicKey())
	unknown := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(unknown, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		edit func(*Options)
		want string // "" for success
	}{
		"key":                {func(*Options) {}, ""},
		"second key":         {func(o *Options) { o.Keys = []string{stranger, s.key} }, ""},
		"password":           {func(o *Options) { o.Keys, o.Password = nil, "open sesame" }, ""},
		"agent":              {func(o *Options) { o.Keys, o.Agent = nil, withAgent(t, s.key) }, ""},
		"agent after key":    {func(o *Options) { o.Keys, o.Agent = []string{stranger}, withAgent(t, s.key) }, ""},
		"pin alone":          {func(o *Options) { o.KnownHosts, o.Pins = "", []string{otherPin, pin} }, ""},
		"pin and file":       {func(o *Options) { o.Pins = []string{pin} }, ""},
		"wrong key":          {func(o *Options) { o.Keys = []string{stranger} }, "unable to authenticate"},
		"wrong user":         {func(o *Options) { o.User = "mallory" }, "unable to authenticate"},
		"wrong password":     {func(o *Options) { o.Keys, o.Password = nil, "sesame" }, "unable to authenticate"},
		"wrong agent":        {func(o *Options) { o.Keys, o.Agent = nil, withAgent(t, stranger) }, "unable to authenticate"},
		"wrong pin":          {func(o *Options) { o.Pins = []string{otherPin} }, "is not pinned"},
		"wrong host key":     {func(o *Options) { o.KnownHosts = s.known(other.PublicKey()) }, "known_hosts:1: this may be another server"},
		"wrong file, no pin": {func(o *Options) { o.KnownHosts, o.Pins = s.known(other.PublicKey()), []string{pin} }, "known_hosts:1"},
		"unknown host":       {func(o *Options) { o.KnownHosts = unknown }, "the server is not in " + unknown},
		"no agent": {func(o *Options) {
			o.Agent = func(context.Context) (net.Conn, error) { return nil, errors.New("no socket") }
		}, "the agent cannot be reached: no socket"},
	} {
		t.Run(name, func(t *testing.T) {
			o := s.options()
			test.edit(&o)
			c, err := s.dialer(testnet.Only(t, &net.Dialer{}, s.addr), o).Dial("tcp", "target.example:80")
			if err == nil {
				ping(t, c)
				_ = c.Close()
			}
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			var e *chain.Error
			if err != nil && (!errors.As(err, &e) || e.Phase != chain.PhaseAuth || e.Hop != 1) {
				t.Errorf("error %v is of another phase", err)
			}
			if err != nil && strings.Contains(err.Error(), "sesame") {
				t.Errorf("%v tells the password", err)
			}
		})
	}
}

// TestKnownHostsIsReadAgain corrects the file under a running hop.
func TestKnownHostsIsReadAgain(t *testing.T) {
	s := serve(t, testnet.Listen(t), echo(t))
	o := s.options()
	right, err := os.ReadFile(o.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	d := s.dialer(&net.Dialer{}, o)
	_ = os.WriteFile(o.KnownHosts, nil, 0o600)
	if _, err := d.Dial("tcp", "target.example:80"); err == nil || !strings.Contains(err.Error(), "is not in") {
		t.Errorf("error %v", err)
	}
	_ = os.WriteFile(o.KnownHosts, right, 0o600)
	ping(t, dial(t, d))
}

// TestHostKeyOfAKnownKind has a server with keys of two kinds, of which the file
// has the one that the library likes less.
func TestHostKeyOfAKnownKind(t *testing.T) {
	s := serve(t, testnet.Listen(t), echo(t))
	rsa, err := ssh.ParsePrivateKey(rsaKey(t))
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.cfg.AddHostKey(rsa)
	s.mu.Unlock()
	for _, key := range []ssh.Signer{s.host, rsa} {
		o := s.options()
		o.KnownHosts = s.known(key.PublicKey())
		ping(t, dial(t, s.dialer(&net.Dialer{}, o)))
	}
}

// TestBadOptions looks at what is found before anything is dialled.
func TestBadOptions(t *testing.T) {
	s := serve(t, testnet.Listen(t), echo(t))
	_, locked := newKey(t, "sesame")
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("garbage here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for option, edits := range map[string][]func(*Options){
		"": {
			func(o *Options) { o.User = "" },
			func(o *Options) { o.KnownHosts = "" },
			func(o *Options) { o.Keys = nil },
		},
		"known_hosts": {
			func(o *Options) { o.KnownHosts = "nowhere" },
			func(o *Options) { o.KnownHosts = garbage },
		},
		"pin[1]": {func(o *Options) {
			o.Pins = []string{ssh.FingerprintSHA256(s.host.PublicKey()), "SHA256:x"}
		}},
		"key[1]": {
			func(o *Options) { o.Keys = append(o.Keys, "nowhere") },
			func(o *Options) { o.Keys = append(o.Keys, garbage) },
			func(o *Options) { o.Keys = append(o.Keys, locked) },
			func(o *Options) { o.Keys, o.Passphrase = append(o.Keys, locked), "wrong" },
		},
		"passphrase": {func(o *Options) { o.Passphrase = "sesame" }},
	} {
		for i, edit := range edits {
			o := s.options()
			edit(&o)
			_, err := Hop(s.addr, o)
			var wrong *OptionError
			if !errors.As(err, &wrong) || wrong.Option != option {
				t.Errorf("%q, edit %d: error %v", option, i, err)
			}
		}
	}
	o := s.options()
	o.KnownHosts = "nowhere"
	if _, err := Hop(s.addr, o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v is not ErrNotExist", err)
	}
	o = s.options()
	o.Keys, o.Passphrase = append(o.Keys, locked), "sesame"
	if _, err := Hop(s.addr, o); err != nil {
		t.Error(err)
	}
	if _, err := Hop("host", s.options()); err == nil {
		t.Error("an address without a port was taken")
	}
}

// TestHostCertificate has the server show a certificate of an authority in the file.
func TestHostCertificate(t *testing.T) {
	s := serve(t, testnet.Listen(t), echo(t))
	ca, _ := newKey(t, "")
	host, _, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{
		Key: s.host.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{host}, ValidBefore: ssh.CertTimeInfinity,
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewCertSigner(cert, s.host)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.cfg.AddHostKey(signer)
	s.mu.Unlock()
	o := s.options()
	line := "@cert-authority " + knownhosts.Line([]string{s.addr}, ca.PublicKey())
	if err := os.WriteFile(o.KnownHosts, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ping(t, dial(t, s.dialer(&net.Dialer{}, o)))
	line = "@revoked * " + string(ssh.MarshalAuthorizedKey(s.host.PublicKey()))
	right := knownhosts.Line([]string{s.addr}, s.host.PublicKey())
	if err := os.WriteFile(o.KnownHosts, []byte(right+"\n"+line), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.dialer(&net.Dialer{}, o).Dial("tcp", "target.example:80")
	if err == nil || !strings.Contains(err.Error(), "is revoked by "+o.KnownHosts+":2") {
		t.Errorf("a revoked key: %v", err)
	}
}
