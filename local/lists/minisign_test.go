package lists

import (
	"net/http"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// A key and signatures made by minisign 0.11 (-G -W, -S, -S -l).
const (
	publicKey = "RWSpItDxz0MYma0WwpcroYK2Kk+kDPRR8T4PLmKB06c0BySHg0J7J20r"
	message   = "ads.example\ntrack.example\n"
	signature = "untrusted comment: signature from minisign secret key\n" +
		"RUSpItDxz0MYmcaoR3DTCSTtrUdPk77wEDYNoxDnSAjeGmZ4Svbzl9Z+Ugya5eXd+78D3q2fYALD0lCHal2BDG/P9+avP7JdjQk=\n" +
		"trusted comment: timestamp:1 file:list.txt\n" +
		"UvQWPwMgi8YF4eZ37HQIIsyjPaAMRWmspQtaJu67ClaD5BnXvCWjsOU0HPO9244NDsFPuomfZ8pdSDo6XmkYCg==\n"
	legacy = "untrusted comment: signature from minisign secret key\n" +
		"RWSpItDxz0MYmf1xqK8U+ORzrK4YDC5A2iW4e2lVjYFeA2qDW4Irc+HK0A5EqyhQnhP5MFvWpHoYWtJhkeIa1vFBxowioWi8ig4=\n" +
		"trusted comment: old\n" +
		"XJUWRHdUMRKpIJsJW3NCoSYOaftzrx+04EH5AS2ho7NRCK17x6ZbUeVjifFGMWP6EKZi/IzGnbEjgQFPGj7nAw==\n"
)

func request(addr string) relay.Request { return relay.Request{Network: "tcp", Addr: addr} }

func key(t testing.TB) *Key {
	t.Helper()
	k, err := ParseKey(publicKey)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestMinisign(t *testing.T) {
	k := key(t)
	for _, good := range []string{signature, legacy, strings.ReplaceAll(signature, "\n", "\r\n"), strings.TrimSuffix(signature, "\n")} {
		if err := k.Verify([]byte(message), []byte(good)); err != nil {
			t.Errorf("%v:\n%s", err, good)
		}
	}
	if err := k.Verify([]byte(message+" "), []byte(signature)); err != errForged {
		t.Errorf("another message: %v", err)
	}
	other := *k
	other.id[0]++
	if err := other.Verify([]byte(message), []byte(signature)); err != errOtherKey {
		t.Errorf("another key: %v", err)
	}
	for _, bad := range []string{
		"", message, strings.Replace(signature, "timestamp:1", "timestamp:2", 1), strings.Replace(signature, "RUSp", "RWSp", 1),
		strings.Replace(legacy, "RWSp", "RUSp", 1), strings.Replace(signature, "RUSp", "AASp", 1), strings.Replace(signature, "trusted comment: t", "comment: t", 1),
		strings.Replace(signature, "9+avP7JdjQk=", "9+avP7JdjQk", 1), strings.Replace(signature, "UvQW", "UvQX", 1), signature[:len(signature)-20],
	} {
		if err := k.Verify([]byte(message), []byte(bad)); err == nil {
			t.Errorf("passes:\n%s", bad)
		}
	}
	for _, bad := range []string{"", "RW", publicKey + "A", publicKey[:55], "XX" + publicKey[2:], "untrusted comment: x\n" + publicKey} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}

// TestSignedList fetches the signature from beside the list, query and all.
func TestSignedList(t *testing.T) {
	n := testnet.New()
	server(t, n, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RequestURI() {
		case "/ads.txt?v=1":
			_, _ = w.Write([]byte(message))
		case "/ads.txt.minisig?v=1":
			_, _ = w.Write([]byte(signature))
		default:
			http.NotFound(w, r)
		}
	})
	s := source(t, n)
	s.URL += "?v=1"
	s.Key = key(t)
	if err := s.Refresh(t.Context(), nil); err != nil || s.List.Contents().Len() != 2 {
		t.Errorf("%v", err)
	}
}

func FuzzMinisign(f *testing.F) {
	f.Add(publicKey, message, signature)
	f.Add(publicKey, message, legacy)
	f.Add("", "", "untrusted comment:\n\n\n\n")
	f.Fuzz(func(t *testing.T, pub, text, sig string) {
		k, err := ParseKey(pub)
		if err != nil {
			k = key(t)
		}
		if k.Verify([]byte(text), []byte(sig)) == nil && text != message {
			t.Errorf("%q is signed by %q", text, sig)
		}
	})
}
