package egress

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestCertificateFiles changes the files while they are served.
func TestCertificateFiles(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	version := 0
	write := func(name string, data []byte) {
		t.Helper()
		version++
		// A file system may tell times by the second only.
		when := time.Unix(1_700_000_000+int64(version)*10, 0)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
	pair := func(name string) (cert, key []byte) {
		t.Helper()
		cert, key, err := makeCertificate([]string{name}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	synctest.Test(t, func(t *testing.T) {
		cert, key := pair("first.example")
		write(certFile, cert)
		write(keyFile, key)
		var log bytes.Buffer
		f, err := NewCertificateFiles(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		serves := func(name string) {
			t.Helper()
			for _, other := range []string{"first.example", "second.example"} {
				_, err := f.GetCertificate(&tls.ClientHelloInfo{ServerName: other})
				if (err == nil) != (other == name) {
					t.Errorf("want that of %s; for %s: %v", name, other, err)
				}
			}
		}
		logged := func(want string) {
			t.Helper()
			if !strings.Contains(log.String(), want) || want == "" && log.Len() > 0 {
				t.Errorf("logged %q, want %q", log.String(), want)
			}
			log.Reset()
		}
		serves("first.example")

		cert, key = pair("second.example")
		write(certFile, cert) // and the key is the old one
		time.Sleep(look - 1)
		serves("first.example")
		logged("")
		time.Sleep(time.Nanosecond)
		serves("first.example")
		logged("cannot be used")
		time.Sleep(look)
		serves("first.example")
		logged("") // told once

		write(keyFile, key)
		time.Sleep(look)
		serves("second.example")
		logged("read anew")

		for _, bad := range []func(){
			func() { write(certFile, cert[:len(cert)/2]) },
			func() {
				if err := os.Remove(certFile); err != nil {
					t.Fatal(err)
				}
			},
		} {
			bad()
			time.Sleep(look)
			serves("second.example")
			logged("cannot be used")
		}
		write(certFile, cert)
		time.Sleep(look)
		serves("second.example")
		logged("read anew")
	})
	if _, err := NewCertificateFiles(certFile, filepath.Join(dir, "none"), nil); err == nil {
		t.Error("a certificate without its key was taken")
	}
}
