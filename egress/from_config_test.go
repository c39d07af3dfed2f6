package egress

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/configs"
)

const configHead = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[user]]\nname = \"alice\"\nsecret = { file = \"token\" }\n"

func TestFromConfig(t *testing.T) {
	dir := t.TempDir()
	certPEM, keyPEM, err := makeCertificate([]string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := makeCertificate([]string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"token": []byte("0123456789abcdef0123\n"), "short": []byte("secret\n"), "c.pem": certPEM, "k.pem": keyPEM, "other.pem": otherKey,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := "[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n"
	folder, upstream := "[[site]]\nroot = \".\"\n", "[[site]]\nupstream = \"http://127.0.0.1:1\"\n"
	for text, want := range map[string]string{
		configHead + files + folder:                                           "",
		configHead + files + upstream:                                         "",
		configHead + "[tls]\nnames = [\"127.0.0.1\"]\n" + folder:              "",
		configHead + strings.Replace(files, "k.pem", "other.pem", 1) + folder: "7:15: tls.certificate: ",
		configHead + files + "[[site]]\nroot = \"none\"\n":                    "10:8: site[0].root: ",
		strings.Replace(configHead, "token", "short", 1) + files + folder:     "user",
	} {
		c, err := configs.ParseEgress(filepath.Join(dir, "egress.toml"), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s, err := FromConfig(c, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			if want == "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret\n") {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if want != "" {
			t.Errorf("%s: no error", text)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := s.ListenAndServe(ctx, c, func(net.Addr) { cancel() }); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		cancel()
	}
}
