package egress

import (
	"crypto/tls"
	"testing"
)

func TestByName(t *testing.T) {
	both, err := NewCertificate("www.example.org", "*.Wild.example", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	named, err := NewCertificate("www.example.org")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		cert   tls.Certificate
		name   string
		protos []string
		given  bool
	}{
		{both, "www.example.org", nil, true},
		{both, "WWW.example.org.", nil, true},
		{both, "a.wild.example", nil, true},
		{both, "wild.example", nil, false},
		{both, "a.b.wild.example", nil, false},
		{both, "example.org", nil, false},
		{both, "sub.www.example.org", nil, false},
		{both, "192.0.2.1", nil, true},
		{both, "192.0.2.2", nil, false},
		{both, "", nil, true},
		{named, "", nil, false},
		{named, "www.example.org", []string{"h2", "acme-tls/1"}, true},
		{named, "www.example.org", []string{"acme-tls/1"}, false},
	} {
		b, err := newByName(test.cert)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.certificate(&tls.ClientHelloInfo{ServerName: test.name, SupportedProtos: test.protos})
		if (got != nil) != test.given || (err == nil) != test.given {
			t.Errorf("%q %q: given %v, %v", test.name, test.protos, got != nil, err)
		}
	}
	if _, err := newByName(tls.Certificate{Certificate: [][]byte{{1}}}); err == nil {
		t.Error("a certificate that is none was taken")
	}
}
