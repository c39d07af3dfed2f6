package probe

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	all, err := Parse(`
# a comment
list a
  x  1
  y
list b
  u  2 {a}
probe one
  send \r\n
probe two each a each b
  # another
  tls alpn=h2
  send {a}{b}
list c
  w
probe three each c
  fin
`)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "one two/x/u two/y/u three/w" {
		t.Errorf("probes are %s", got)
	}
	if len(all[1].Steps) != 2 || all[1].Steps[1] != (Step{"send", "{a}{b}", 13}) {
		t.Errorf("steps are %v", all[1].Steps)
	}
	if got, err := expand(all[1].Steps[1].Rest, all[1].vars); err != nil || got != "12 1" {
		t.Errorf("expanded to %q, %v", got, err)
	}
	for _, bad := range []string{"word", "  send x", "probe a each b", "probe a each", "probe a b c", "probe a\n  jump x", "probe a\nprobe a", "list"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestExpand(t *testing.T) {
	vars := map[string]string{"site": "www.example.org", "user": "alice"}
	for text, want := range map[string]string{
		"":                             "",
		`GET {site}\r\n`:               "GET www.example.org\r\n",
		`{b64 {user}:x}`:               "YWxpY2U6eA==",
		`{fill 3}\x41\0\\\t`:           "xxxA\x00\\\t",
		`{b64 \x00}`:                   "AA==",
		`a\{b`:                         "a{b",
		`{fill {b64}}`:                 "error",
		`{none}`:                       "error",
		`}`:                            "error",
		`\q`:                           "error",
		`\x4`:                          "error",
		`\`:                            "error",
		`{fill 99999999}`:              "error",
		`{fill 1000000}{fill 1000000}`: "error",
	} {
		got, err := expand(text, vars)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("list a\n  x {fill 3}\nprobe b each a\n  send {a}\\r\n")
	f.Add("probe p\n  headers 1 end :method GET\n  frame 4 0 0 0001\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse(text)
		if err != nil {
			return
		}
		for _, p := range all {
			if p.Name == "" {
				t.Error("a probe without a name")
			}
			for _, s := range p.Steps {
				if b, err := expand(s.Rest, p.vars); err == nil && len(b) > maxText {
					t.Errorf("%d bytes", len(b))
				}
				_, _, _, _ = heading(s.Rest)
				_, _ = settings(s.Rest)
			}
		}
	})
}

func FuzzDescribe(f *testing.F) {
	f.Add(frame(frameSettings, 0, 0, []byte{0, 3, 0, 0, 0, 9}))
	f.Add(frame(frameHeaders, 5, 1, fields(":status 200; date x")))
	f.Add(frame(frameGoAway, 0, 0, make([]byte, 9))[:12])
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := describe(b); len(b) > 0 && len(got) > len(b) {
			t.Errorf("%d lines of %d bytes", len(got), len(b))
		}
		_ = lines(b)
	})
}

// look runs a probe against a server of net/http.
func look(t *testing.T, steps string) Record {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			_, _ = io.WriteString(w, "hello")
		}
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	all, err := Parse("probe p\n" + steps)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return Run(c.(*net.TCPConn), Target{Vars: map[string]string{"site": "example.com"}, Quiet: 200 * time.Millisecond}, all[0])
}

func TestRun(t *testing.T) {
	for _, test := range []struct{ name, steps, want string }{
		{
			"http1", "  tls alpn=http/1.1\n  send GET / HTTP/1.1\\r\\nHost: {site}\\r\\n\\r\\n",
			`HTTP/1.1 200 OK\r\n|Date: *\r\n|  hello|end: open; after our end FIN|tls: TLS 1.3`,
		},
		{
			"closed", "  tls alpn=http/1.1\n  send GET / HTTP/1.1\\r\\nHost: {site}\\r\\nConnection: close\\r\\n\\r\\n",
			`HTTP/1.1 200 OK|end: closed by FIN`,
		},
		{"slow", "  tls alpn=http/1.1\n  drip GET / HTTP/1.1\\r\\nHost: {site}\\r\\n\\r\\n", `HTTP/1.1 200 OK`},
		{
			"http2", "  tls alpn=h2\n  h2 3=100\n  headers 1 end :method GET; :scheme https; :authority {site}; :path /",
			`[0] SETTINGS |[0] SETTINGS ack|[0] WINDOW_UPDATE|[1] HEADERS :status="200"|date="*"|[1] DATA end 5 "hello"`,
		},
		{
			"body", "  tls alpn=h2\n  h2\n  headers 1 :method POST; :scheme https; :authority {site}; :path /\n  data 1 end hi",
			`[1] DATA end 5 "hello"`,
		},
		{"violation", "  tls alpn=h2\n  h2\n  frame 3 0 0 00000008", `[0] GOAWAY last=0 code=1 ""`},
		{"no TLS", "  send GET / HTTP/1.1\\r\\n\\r\\n", `HTTP/1.0 400 Bad Request|end: closed by FIN`},
		{"alert", "  tls alpn=foo", `tls: error: remote error: tls: no application protocol|end: closed by`},
		{"reset", "  tls alpn=h2\n  rst", `end: reset by us`},
		{"early end", "  tls alpn=http/1.1\n  send GET\n  fin", `end: closed by FIN`},
		{"noise", "  noise 100", `end: closed by`},
		{"mistake", "  send {none}", `failed: line 2: nothing is called {none}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := look(t, test.steps).String()
			for _, want := range strings.Split(test.want, "|") {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
		})
	}
}

// TestNoise makes sure that it is the same each time, and not of two lengths.
func TestNoise(t *testing.T) {
	if !bytes.Equal(noise(100), noise(100)) || bytes.HasPrefix(noise(101), noise(100)) {
		t.Error("noise is not what it should be")
	}
}
