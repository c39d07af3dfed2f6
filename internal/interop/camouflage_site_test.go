//go:build interop

package interop

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"debug/buildinfo"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// makeSite writes a folder with what a website may have, and what it had better not.
func makeSite(root string) error {
	big := make([]byte, 100_000)
	for i := range big {
		big[i] = byte(i * i >> 3)
	}
	var errs []error
	for name, text := range map[string]string{
		"index.html":      "<!doctype html><title>Home</title><p>Home.\n",
		"about.txt":       "About this site.\n",
		"style.css":       "p { color: black }\n",
		"page":            "no extension\n",
		"big.bin":         string(big),
		"empty.html":      "",
		".hidden":         "hidden\n",
		"sp ace.txt":      "space\n",
		"docs/index.html": "<p>Docs.\n",
		"notes/index.txt": "Notes.\n",
		"empty/.keep":     "",
		"../outside.txt":  "outside\n",
	} {
		path := filepath.Join(root, name)
		// A time that is no whole second, as files have.
		when := time.Date(2026, 3, 4, 5, 6, 7, 891_011_121, time.UTC)
		errs = append(errs, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, when, when))
	}
	return errors.Join(append(errs,
		os.Symlink("about.txt", filepath.Join(root, "link-in.txt")),
		os.Symlink("../outside.txt", filepath.Join(root, "link-out.txt")))...)
}

// caddyVersion is the one whose answers byway's are.
const caddyVersion = "v2.11.9"

// findCaddy returns the path of a caddy of that version; distributions have others.
func findCaddy() (string, error) {
	path, err := find("caddy")
	if err != nil {
		return "", err
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", err
	}
	if info.Main.Path != "github.com/caddyserver/caddy/v2" || info.Main.Version != caddyVersion {
		return "", missing{"caddy " + caddyVersion}
	}
	return path, nil
}

// ed25519Pair makes a certificate whose signatures all have one length, so that TLS records
// can be compared by theirs.
func ed25519Pair(certFile, keyFile, name string) error {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1 << 40),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var certPEM, keyPEM bytes.Buffer
	return errors.Join(
		pem.Encode(&certPEM, &pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.Encode(&keyPEM, &pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		os.WriteFile(certFile, certPEM.Bytes(), 0o644),
		os.WriteFile(keyFile, keyPEM.Bytes(), 0o600),
	)
}

// reportText is docs/camouflage-report.md: the number of probes, of those equal, and of those
// that differ; the differences; a row for each probe.
const reportText = "# What probes see\n\n" +
	"Written by `go test -tags interop -run TestCamouflage ./internal/interop -camouflage.report docs/camouflage-report.md`;\n" +
	"the probes are in `internal/interop/testdata/camouflage`.\n\n" +
	"%d probes were sent to `byway front`, which is an egress without its tunnels, to `byway egress` with the same file, and to Caddy 2.11.9\n" +
	"with the same folder and certificate. With tunnels and without, byway answered all the same: to the byte, the frame, the TLS record on HTTP/1.1, the transport parameters on HTTP/3, and the way in\n" +
	"which the connection ended; save the probes marked `tunnel`, which show a good credential. %d answers are Caddy's. Not so (%d):\n\n" +
	"%s\n\n" +
	"| probe | the answer in short | as Caddy |\n|---|---|---|\n%s\n"
