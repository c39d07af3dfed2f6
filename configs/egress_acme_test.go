package configs

import "testing"

func TestEgressACME(t *testing.T) {
	const site = "[[site]]\nroot = \"site\"\n"
	for text, want := range map[string]EgressACME{
		"":                    {},
		"[tls.acme]\n" + site: {Directory: "https://acme-v02.api.letsencrypt.org/directory"},
		"[tls.acme]\ndirectory = \"https://127.0.0.1:14000/dir\"\nemail = \"me@example.org\"\nca = \"ca.pem\"\n" + site: {
			Email: "me@example.org", Directory: "https://127.0.0.1:14000/dir", CA: "ca.pem",
		},
	} {
		if text == "" {
			text = site
		}
		e, err := ParseFront("egress.toml", []byte("[[listen]]\naddress = \":443\"\nhttp_port = 80\n[tls]\nnames = [\"www.example.org\"]\n"+text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if e.TLS.ACME != want || e.Listeners[0].HTTPPort != 80 || e.TLS.State != "state" {
			t.Errorf("%s: got %+v", text, e)
		}
	}
}
