package local

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/relay"
)

// observed is a Pending that tells whether it was accepted, and by what it was refused.
type observed struct {
	request  relay.Request
	conn     net.Conn
	accepted bool
	refused  error
}

func (o *observed) Request() relay.Request { return o.request }
func (o *observed) Accept() (net.Conn, error) {
	o.accepted = true
	return o.conn, nil
}
func (o *observed) Reject(err error) error { o.refused = err; return o.conn.Close() }

func one(rnd *rand.Rand, all ...string) string { return all[rnd.IntN(len(all))] }

// randomRoutes is a file with some rules that lead to two chains, direct, and nowhere.
func randomRoutes(rnd *rand.Rand, hop string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[listen]]\naddress = \"127.0.0.1:0\"\n[[hop]]\nname = \"h\"\nurl = \"socks5://%s\"\n", hop)
	for _, name := range []string{"c", "d"} {
		fmt.Fprintf(&b, "[[chain]]\nname = %q\nhops = [\"h\"]\nspares = 0\n", name)
	}
	b.WriteString("[[list]]\nname = \"l\"\nfile = \"list.txt\"\n")
	for range 1 + rnd.IntN(6) {
		fmt.Fprintf(&b, "[[route]]\nto = %q\n", one(rnd, "c", "d", "direct", "block"))
		for _, line := range []string{
			fmt.Sprintf("domain = %q\n", one(rnd, "a.example", ".a.example", "*.example", "keyword:b", "regexp:^w")), "list = \"l\"\n",
			fmt.Sprintf("port = %d\n", 1+rnd.IntN(3)), fmt.Sprintf("user = %q\n", one(rnd, "alice", "bob")),
			"client = \"10.0.0.0/8\"\n", "cidr = \"192.0.2.0/24\"\n", fmt.Sprintf("not = { domain = %q }\n", one(rnd, "a.example", ".example")),
		} {
			if rnd.IntN(5) == 0 {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// TestExplainIsWhatHappens sends 10,000 random requests through the relay, and
// compares whom it dialled by which rule with what Explain had told before.
func TestExplainIsWhatHappens(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	const hop = "198.51.100.1:1080"
	seen := make(map[string]int)
	for range 200 {
		var dialled []string
		base := chain.DialerFunc(func(_ context.Context, _, addr string) (net.Conn, error) {
			dialled = append(dialled, addr)
			return nil, io.ErrUnexpectedEOF
		})
		text := randomRoutes(rnd, hop) + one(rnd, "", standInDNS)
		s, err := New(parseWith(t, text, "w.b.example\n203.0.113.0/24\n"), base, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		a4, _, _ := s.stand.Give("a.example", nil)
		_, b6, _ := s.stand.Give("w.b.example", nil)
		var decided relay.Decision
		s.relay.Trace = &relay.Trace{Failed: func(_ relay.Request, d relay.Decision, _ error) { decided = d }}
		for range 50 {
			q := relay.Request{
				Network: "tcp", User: one(rnd, "", "alice", "bob"), Client: &net.TCPAddr{IP: net.ParseIP(one(rnd, "10.0.0.1", "127.0.0.1"))},
				Addr: one(rnd, "a.example", "W.a.example.", "w.b.example", "b.test", "192.0.2.9", "0xcb007109", "203.0.113.9", "a..b",
					a4.String(), "["+b6.String()+"]", "198.18.0.1", "0xc6120001") + ":" + one(rnd, "1", "2", "3"),
			}
			e := s.Explain(q, time.Now())
			if len(dialled) > 0 {
				t.Fatalf("Explain dialled %q", dialled)
			}
			near, far := net.Pipe()
			p := &observed{request: q, conn: near}
			_ = s.relay.Serve(t.Context(), p)
			_ = far.Close()
			var want []string
			switch to := e.Path.To; {
			case e.Decision.Dialer == nil:
			case to == configs.Direct && e.Decision.Addr != "":
				want = []string{e.Decision.Addr}
			case to == configs.Direct:
				want = []string{q.Meant(e.Decision).Addr}
			default:
				want = []string{hop}
			}
			if decided.Rule != e.Decision.Rule || decided.Via != e.Decision.Via || fmt.Sprint(dialled) != fmt.Sprint(want) ||
				e.Path.From != "" && e.Path.From != e.Decision.Rule {
				t.Fatalf("%s\n%+v\nexplained as %+v\ndecided %+v, dialled %q, want %q", text, q, e, decided, dialled, want)
			}
			seen[decided.Via]++
			if decided.Target != "" {
				seen["by stand-in"]++
			}
			dialled = nil
		}
		_ = s.Close()
	}
	if seen["direct"] < 500 || seen["c"] < 500 || seen["d"] < 500 || seen["block"] < 500 || seen["by stand-in"] < 200 {
		t.Errorf("too few of a kind: %v", seen)
	}
}

// parseWith is parse with a list beside the file.
func parseWith(t testing.TB, text, list string) *configs.Client {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "list.txt"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := configs.ParseClient(filepath.Join(dir, "byway.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBadRules looks at the places of errors that show only when rules are built.
func TestBadRules(t *testing.T) {
	const head = "[[listen]]\naddress = \"127.0.0.1:0\"\n"
	for _, test := range []struct{ text, list, want string }{
		{"[[route]]\nto = \"block\"\ndomain = [\"ok.example\", \"192.0.2.1\"]\n", "a.example", `byway.toml:5:25: route[0].domain[1]: "192.0.2.1" is an address; write it as a cidr`},
		{"[[route]]\nto = \"block\"\ndomain = \"a..b\"\n", "a.example", `byway.toml:5:10: route[0].domain`},
		{"[[route]]\nto = \"block\"\nnot = { domain = [\"*\", \"a b\"] }\n", "a.example", `byway.toml:5:24: route[0].not[0].domain[1]: "a b" is not a name`},
		{"[[list]]\nname = \"l\"\nfile = \"none.txt\"\n", "", `byway.toml:5:8: list "l": file: cannot be read: `},
		{"[[list]]\nname = \"l\"\nfile = \"list.txt\"\n", "a.example\n<html>", `list.txt:2: "<html>" is not a name`},
		{"[[list]]\nname = \"l\"\nfile = \"list.txt\"\n", "# nothing\n", `has no names and no addresses`},
		{"[geo]\ndatabase = \"list.txt\"\n", "not one", `byway.toml:4:12: geo.database: not a country database`},
		{"[geo]\ndatabase = \"none\"\n", "", `byway.toml:4:12: geo.database: cannot be read`},
	} {
		_, err := New(parseWith(t, head+test.text, test.list), chain.DialerFunc(nil), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\nerror %v\nwant  %s", test.text, err, test.want)
		}
	}
}
