package egress

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// look is how often files of a certificate are looked at, at most: when a client comes.
const look = 5 * time.Second

// A CertificateFiles is a certificate and its key in PEM files, which are read again when they have
// changed. A pair that cannot be used, or is half written, leaves the last good one in place.
type CertificateFiles struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	served byName
	stamps [2]stamp
	looked time.Time
}

// stamp tells a version of a file.
type stamp struct {
	size     int64
	modified time.Time
}

// NewCertificateFiles reads the files cert and key. log, which may be nil, is told of
// every later version, good or bad.
func NewCertificateFiles(cert, key string, log *slog.Logger) (*CertificateFiles, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &CertificateFiles{cert: cert, key: key, log: log, looked: time.Now()}
	f.stamps = f.stat()
	served, err := f.read()
	f.served = served
	return f, err
}

// GetCertificate is for [tls.Config.GetCertificate].
func (f *CertificateFiles) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.current().certificate(hello)
}

// Look looks at the files now.
func (f *CertificateFiles) Look() {
	f.mu.Lock()
	f.looked = time.Time{}
	f.mu.Unlock()
	f.current()
}

func (f *CertificateFiles) current() byName {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.looked) < look {
		return f.served
	}
	f.looked = time.Now()
	stamps := f.stat()
	if stamps == f.stamps {
		return f.served
	}
	// The stamps are those from before the reading: what changes meanwhile is read again.
	f.stamps = stamps
	served, err := f.read()
	if err != nil {
		f.log.Warn("the changed certificate cannot be used; the one before is served on", "file", f.cert, "error", err)
		return f.served
	}
	f.served = served
	f.log.Info("certificate read anew", "file", f.cert, "expires", served.leaf.NotAfter)
	return served
}

func (f *CertificateFiles) read() (byName, error) {
	cert, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return byName{}, err
	}
	return newByName(cert)
}

// stat returns the stamps of both files; that of a missing one is zero.
func (f *CertificateFiles) stat() (all [2]stamp) {
	for i, name := range []string{f.cert, f.key} {
		if info, err := os.Stat(name); err == nil {
			all[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return all
}
