//go:build interop

package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// site is the website: nginx, with and without TLS, with the payload down as
// /payload, and a git repository at /repo.git. It takes files below /up by PUT.
// /seen tells the fields of a request by which a proxy shows.
type site struct {
	port, tlsPort string
	ca            string // file of the certificate
	root          string // its folder
}

// Hosts by which the site is known.
const (
	byAddress = "127.0.0.1"
	byName    = privateName
)

func (s site) url(host, path string) string {
	return "http://" + net.JoinHostPort(host, s.port) + path
}

func (s site) tlsURL(host, path string) string {
	return "https://" + net.JoinHostPort(host, s.tlsPort) + path
}

// upstream is the site for an egress in front of it.
func (s site) upstream() string { return s.url(byAddress, "") }

var website = sync.OnceValues(startNginx)

// unseen is what /seen says when nothing shows of a proxy.
const unseen = "via= forwarded= for= real= proxy-connection= proxy-authorization= client-ip=\n"

func startNginx() (site, error) {
	path, err := find("nginx")
	if err != nil {
		return site{}, err
	}
	dir, err := lab.folder("nginx")
	if err != nil {
		return site{}, err
	}
	s := site{root: filepath.Join(dir, "root"), ca: filepath.Join(dir, "cert.pem")}
	addr, port, err1 := reserved()
	tlsAddr, tlsPort, err2 := reserved()
	s.port, s.tlsPort = port, tlsPort
	_, down := payloads()
	err = errors.Join(err1, err2,
		os.MkdirAll(filepath.Join(s.root, "up"), 0o755),
		os.WriteFile(filepath.Join(s.root, "payload"), down, 0o644),
		os.WriteFile(filepath.Join(s.root, "index.html"), []byte("<p>The page of nginx.</p>\n"), 0o644),
		selfSigned(s.ca, filepath.Join(dir, "key.pem"), byName),
	)
	if err != nil {
		return site{}, err
	}
	_, file, err := config("nginx", "nginx.conf", fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr warn;
events { }
http {
    access_log off;
    client_body_temp_path %[1]s/body;
    proxy_temp_path %[1]s/proxy;
    fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi;
    scgi_temp_path %[1]s/scgi;
    client_max_body_size 64m;
    server {
        listen %[2]s;
        listen %[3]s ssl http2;
        ssl_certificate %[1]s/cert.pem;
        ssl_certificate_key %[1]s/key.pem;
        root %[4]s;
        location /up { dav_methods PUT; }
        location = /seen {
            return 200 "via=$http_via forwarded=$http_forwarded for=$http_x_forwarded_for real=$http_x_real_ip proxy-connection=$http_proxy_connection proxy-authorization=$http_proxy_authorization client-ip=$http_client_ip\n";
        }
    }
}
`, dir, addr, tlsAddr, s.root))
	if err != nil {
		return site{}, err
	}
	_, err = lab.server(addr, path, "-p", dir, "-e", "stderr", "-c", file)
	return s, err
}

// selfSigned makes a certificate for name that is its own authority.
func selfSigned(certFile, keyFile, name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		DNSNames:              []string{name},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600),
	)
}
