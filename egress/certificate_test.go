package egress

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMadeCertificate(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	first, err := MadeCertificate(state, []string{"my.example.org", "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(first.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"my.example.org", "192.0.2.1"} {
		if err := leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	again, err := MadeCertificate(state, []string{"my.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	pin1, _ := Pin(first)
	pin2, _ := Pin(again)
	if pin1 != pin2 || !strings.HasPrefix(pin1, "sha256/") {
		t.Errorf("pins %s and %s", pin1, pin2)
	}
	info, err := os.Stat(filepath.Join(state, keyFile))
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the key's mode is %v, %v", info.Mode(), err)
	}
	// A broken pair is never replaced: the clients' pin would break with it.
	if err := os.WriteFile(filepath.Join(state, certificateFile), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := MadeCertificate(state, []string{"my.example.org"}); err == nil {
		t.Error("a broken certificate was replaced")
	}
	if err := os.Remove(filepath.Join(state, certificateFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := MadeCertificate(state, []string{"my.example.org"}); err == nil {
		t.Error("a key without its certificate was replaced")
	}
}
