package egress

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/byway-proxy/byway/internal/testnet"
)

// TestECH has clients hide a name, with the newest key and an older one; who knows none that is right is
// told, and who knows nothing of it, in TLS 1.2 too, is served.
func TestECH(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	keys, err := openECH(t.TempDir(), "cover.example.org", 30*24*time.Hour, func() time.Time { return now })
	must(t, err)
	cert, err := NewCertificate("cover.example.org", "hidden.example.org")
	must(t, err)
	_, addr, _ := startWith(t, &Policy{Resolver: forbidden{t}, Base: testnet.NoDial(t)}, func(s *Server) {
		s.Certificate, s.ECH, s.Windows = cert, keys, testWindows
	})
	hello := func(name string, list []byte) (tls.ConnectionState, error) {
		cfg := &tls.Config{ServerName: name, InsecureSkipVerify: true, EncryptedClientHelloConfigList: list, NextProtos: []string{"h2"}} //nolint:gosec // a test
		if list != nil {
			cfg.MinVersion = tls.VersionTLS13
			cfg.EncryptedClientHelloRejectionVerify = func(tls.ConnectionState) error { return nil }
		}
		c, err := tls.Dial("tcp", addr, cfg)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer c.Close()
		return c.ConnectionState(), nil
	}
	first := keys.List()
	for range 2 { // with the newest, and again when it is not any more
		if cs, err := hello("hidden.example.org", first); err != nil || !cs.ECHAccepted {
			t.Errorf("accepted: %v, %v", cs.ECHAccepted, err)
		}
		now = now.Add(31 * 24 * time.Hour)
	}
	other, err := OpenECH(t.TempDir(), "cover.example.org", time.Hour)
	must(t, err)
	_, err = hello("hidden.example.org", other.List())
	var rejected *tls.ECHRejectionError
	if !errors.As(err, &rejected) || string(rejected.RetryConfigList) != string(keys.List()) {
		t.Errorf("%v, which is not a rejection with the newest list", err)
	}
	if _, err := hello("elsewhere.example", first); err == nil {
		t.Error("a hidden name that there is no certificate for was served")
	}
	if cs, err := hello("cover.example.org", nil); err != nil || cs.ECHAccepted {
		t.Errorf("without: %v, %v", cs.ECHAccepted, err)
	}
	c, err := tls.Dial("tcp", addr, &tls.Config{ServerName: "cover.example.org", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}) //nolint:gosec // a test
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// TestECHRotation keeps keys over restarts, makes new ones in time, and lets the oldest go.
func TestECHRotation(t *testing.T) {
	dir, every := t.TempDir(), 24*time.Hour
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	open := func(name string) *ECHKeys {
		e, err := openECH(dir, name, every, func() time.Time { return now })
		must(t, err)
		return e
	}
	first := open("a.example").List()
	if again := open("a.example").List(); string(again) != string(first) {
		t.Error("a restart made another key")
	}
	if other := open("b.example").List(); string(other) == string(first) {
		t.Error("another name has the same key")
	}
	e := open("b.example")
	for i := range 2 * echKept {
		now = now.Add(every)
		keys, err := e.Get(nil)
		must(t, err)
		ids := make(map[byte]bool)
		for k, key := range keys {
			ids[key.Config[4]] = true
			if key.SendAsRetry != (k == 0) {
				t.Errorf("key %d is told: %v", k, key.SendAsRetry)
			}
		}
		if want := min(echKept, i+3); len(keys) != want || len(ids) != want {
			t.Errorf("after %d days there are %d keys with %d numbers, want %d", i+1, len(keys), len(ids), want)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != echKept {
		t.Errorf("%d files are left", len(files))
	}
	must(t, os.WriteFile(files[0], []byte("-----BEGIN X-----\n-----END X-----\n"), 0o600))
	if _, err := OpenECH(dir, "b.example", every); err == nil {
		t.Error("a file that is none was taken")
	}
	for _, bad := range []string{"", string(make([]byte, 256))} {
		if _, err := OpenECH(t.TempDir(), bad, every); err == nil {
			t.Errorf("a name of %d bytes was taken", len(bad))
		}
	}
}
