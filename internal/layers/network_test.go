package layers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// reaches names what of a package opens a way out of this process, asks a resolver, or
// reads from the environment what could lead there.
var reaches = map[string]*regexp.Regexp{
	"net":                              regexp.MustCompile(`^(Dial\w*|Listen|ListenConfig|ListenPacket|Listen(TCP|UDP|IP|Unix|Unixgram|MulticastUDP)|Lookup\w+|Resolve\w+Addr|Resolver|DefaultResolver|File(Conn|Listener|PacketConn))$`),
	"net/http":                         regexp.MustCompile(`^(Client|Transport|Default(Client|Transport)|Get|Head|Post|PostForm|ListenAndServe\w*|Proxy(FromEnvironment|URL))$`),
	"net/http/httputil":                regexp.MustCompile(`^(ReverseProxy|NewSingleHostReverseProxy)$`),
	"crypto/tls":                       regexp.MustCompile(`^(Dial\w*|Listen)$`),
	"os":                               regexp.MustCompile(`^(Getenv|LookupEnv|Environ|ExpandEnv|StartProcess)$`),
	"syscall":                          regexp.MustCompile(`^(Socket|Socketpair|Connect|Bind|Listen|Sendto|SendmsgN?|Raw[sS]yscall6?|Syscall\d*|Exec|ForkExec|StartProcess|Getenv|Environ|WSA\w+|ConnectEx)$`),
	"golang.org/x/sys/unix":            regexp.MustCompile(`^(Socket|Socketpair|Connect|Bind|Listen|Sendto|Sendmsg\w*|RawSyscall6?|Syscall\d*|Exec)$`),
	"golang.org/x/net/proxy":           regexp.MustCompile(`^(From\w+|SOCKS5|Direct|Dial|NewPerHost)$`),
	"golang.org/x/net/http2":           regexp.MustCompile(`^(Transport|ConfigureTransports?)$`),
	"golang.org/x/crypto/ssh":          regexp.MustCompile(`^Dial$`),
	"github.com/armon/go-socks5":       regexp.MustCompile(`^(New|Server|DNSResolver)$`),
	"github.com/miekg/dns":             regexp.MustCompile(`^(Client\w*|Conn|Dial\w*|Exchange\w*|ListenAndServe\w*|ActivateAndServe|Server|Transfer)$`),
	"github.com/pires/go-proxyproto":   regexp.MustCompile(`^Listener$`),
	"github.com/caddyserver/certmagic": regexp.MustCompile(`^(New\w*|Default\w*|HTTPS|Listen|TLS|Manage\w+|\w*Solver|Storage)$`),
	"github.com/quic-go/quic-go":       regexp.MustCompile(`^(Dial\w*|Listen\w*|Transport)$`),
	"github.com/quic-go/quic-go/http3": regexp.MustCompile(`^(Transport|ListenAndServe\w*)$`),
}

// never lists packages that go out, or start programs that do, in ways that cannot be
// given a dialer. os/user may ask a directory server on the network.
var never = []string{"os/exec", "os/user", "plugin", "log/syslog", "net/smtp", "net/rpc", "net/http/cgi", "net/http/pprof", "expvar", "unsafe"}

// ways is the whole of what the program's code may reach the network and the environment by, and what for.
var ways = map[string]map[string]string{
	"net.Dialer": {
		"chain/carries.go":                "told apart, to know what it carries",
		"chain/resolve.go":                "told apart, to ask the resolver that it has: a direct rule",
		"hop/base.go":                     "the base, bound to an interface or the like",
		"local/base.go":                   "told apart, to bind it",
		"local/standins.go":               "told apart, to refuse addresses that stand for names",
		"local/hops.go":                   "the socket of the ssh agent, if the file asks for it",
		"internal/control/ask.go":         "the control socket",
		"internal/sockets/listen_unix.go": "whether a socket that is in the way is served",
		"cmd/byway/check.go":              "the base; never dialled with",
		"cmd/byway/explain.go":            "the base; never dialled with",
		"cmd/byway/explain_dns.go":        "the base; never dialled with",
		"cmd/byway/run.go":                "the base",
		"cmd/byway/doctor.go":             "the base: the chains are dialled to examine them",
		"cmd/byway/demo.go":               "the base and the egress of the demonstration",
		"egress/from_config.go":           "the base of the egress",
		"egress/front_server.go":          "the servers behind the website, of which the file says where they are",
	},
	"net.DefaultResolver": {
		"egress/front_server.go": "names of servers behind the website that are followed",
		"chain/resolve.go":       "of a *net.Dialer that has no other: a direct rule",
		"egress/from_config.go":  "the egress resolves names: it is the far end",
		"cmd/byway/demo.go":      "the demonstration's egress",
		"cmd/byway/doctor.go":    "the name of hop 1, as the base looks it up",
	},
	"net.ListenConfig": {
		"local/open.go":                   "listeners and forwards",
		"cmd/byway/status.go":             "metrics and the status page, on loopback",
		"socks/associate.go":              "the socket of a UDP association, at the address that its client came to",
		"internal/sockets/listen_unix.go": "unix sockets",
		"egress/listen.go":                "the listeners of the egress and of the website alone",
		"cmd/byway/demo.go":               "the demonstration's servers, on loopback",
	},
	"a call of ListenAndServe": {
		"cmd/byway/egress.go": "that of package egress, at the address of the file",
		"cmd/byway/front.go":  "that of package egress, at the address of the file",
	},

	"github.com/caddyserver/certmagic.New":           {"egress/acme.go": "certificates by ACME, if the file says so"},
	"github.com/caddyserver/certmagic.NewCache":      {"egress/acme.go": "the same"},
	"github.com/caddyserver/certmagic.NewACMEIssuer": {"egress/acme.go": "the same: it dials the authority, and never asks a proxy of the environment"},

	"net.ListenUDP": {
		"local/forward_udp.go": "forwards of datagrams",
		"local/dns.go":         "DNS listeners, at the address that they have for TCP",
	},
	"net.ResolveUDPAddr": {"local/forward_udp.go": "the address of a forward, as its listener's"},
	"net.FileConn":       {"relay/park_linux.go": "a parked conn comes back"},
	"net.FileListener":   {"local/dns.go": "the open socket of a DNS listener that is replaced", "internal/sockets/activated.go": "those that a service manager has opened"},
	"net.FilePacketConn": {"local/dns.go": "the same", "internal/sockets/activated.go": "the same"},

	"net/http.Transport": {
		"httpproxy/targets.go":            "plain HTTP to targets, dialled by the relay",
		"httpproxy/forward.go":            "the same one, as a parameter",
		"httpproxy/forward2.go":           "the same one, as a parameter",
		"local/lists/fetch.go":            "lists from URLs, dialled by their chain",
		"local/names/https.go":            "DNS over HTTPS, dialled by the relay",
		"egress/front/upstream/client.go": "the servers behind the website, each reached by the dialer that is handed in",
	},

	"net/http.Client":                {"local/lists/fetch.go": "lists from URLs, on that transport"},
	"golang.org/x/net/proxy.FromURL": {"hop/bridge.go": "schemes that a program registered, given next"},
	"github.com/quic-go/quic-go.Transport": {
		"masque/server.go":  "sessions that come in by a socket that is handed in",
		"masque/session.go": "a session over the flow that next returned",
	},
	"github.com/quic-go/quic-go/http3.Transport": {"masque/session.go": "HTTP/3 on such a session; it dials nothing"},

	"syscall.Syscall": {"relay/park_linux.go": "copies of two descriptors"},
	"syscall.Socket":  {"hop/base_linux.go": "tries whether a mark may be set; never connected"},

	"os.Getenv": {
		"configs/read_secret.go":        "a secret, by the name that the file gives",
		"local/hops.go":                 "SSH_AUTH_SOCK",
		"internal/control/server.go":    "XDG_RUNTIME_DIR",
		"cmd/byway/log.go":              "NO_COLOR",
		"cmd/byway/top.go":              "NO_COLOR",
		"internal/sockets/activated.go": "LISTEN_PID and LISTEN_FDS: sockets that a service manager has opened",
	},
}

// ofTests are rooms that no room of the program imports.
var ofTests = []string{"internal/testnet", "internal/netlab", "internal/interop", "internal/bench", "internal/layers"}

// TestWays holds every use of the network in the program's code, on whatever system, against
// the list above: what is not in it is a way by which traffic could go around.
func TestWays(t *testing.T) {
	used := make(map[string]bool)
	files := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		name := strings.TrimPrefix(path, "../../")
		switch {
		case d.IsDir() && (d.Name() == "testdata" || slices.Contains(ofTests, name) || strings.HasPrefix(d.Name(), ".") && name != "../.."):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		files++
		for _, f := range look(t, path, nil) {
			key, _, _ := strings.Cut(f, " at ")
			if ways[key][name] == "" {
				t.Errorf("%s: %s: use the dialer that is handed in; if this is a way that the configuration asks for, put it into ways", name, f)
			}
			used[key+" "+name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 150 {
		t.Errorf("only %d files were looked at", files)
	}
	for key, in := range ways {
		for name := range in {
			if !used[key+" "+name] {
				t.Errorf("%s does not use %s any more: take it out of ways", name, key)
			}
		}
	}
}

// TestWaysCatch makes sure that the check can fail.
func TestWaysCatch(t *testing.T) {
	for code, want := range map[string]string{
		`import "net"; var _, _ = net.Dial("tcp", "")`:                                                       "net.Dial",
		`import n "net"; func f(d *n.Dialer) {}`:                                                             "net.Dialer",
		`import . "net"; var _, _ = Dial("tcp", "")`:                                                         "net imported by a dot",
		`import "net"; var f = net.LookupHost`:                                                               "net.LookupHost",
		`import "net"; var r net.Resolver`:                                                                   "net.Resolver",
		`import "net/http"; var _, _ = http.Get("")`:                                                         "net/http.Get",
		`import "net/http"; var c = &http.Client{}`:                                                          "net/http.Client without its own Transport",
		`import "net/http"; var c = &http.Transport{}`:                                                       "net/http.Transport without a dialer of its own",
		`import "net/http"; var t = new(http.Transport)`:                                                     "net/http.Transport",
		`import "net/http"; var t = &http.Transport{DialContext: nil, Proxy: http.ProxyFromEnvironment}`:     "net/http.ProxyFromEnvironment",
		`import "net/http"; var _ = (&http.Server{}).ListenAndServe()`:                                       "a call of ListenAndServe",
		`import "golang.org/x/net/proxy"; var d = proxy.FromEnvironment()`:                                   "golang.org/x/net/proxy.FromEnvironment",
		`import "crypto/tls"; var d tls.Dialer`:                                                              "crypto/tls.Dialer",
		`import "os"; var p = os.Getenv("ALL_PROXY")`:                                                        "os.Getenv",
		`import "os/user"; var _, _ = user.Current()`:                                                        "os/user imported",
		`import _ "net/http/pprof"`:                                                                          "net/http/pprof imported",
		`import "golang.org/x/crypto/ssh"; var _, _ = ssh.Dial("tcp", "", nil)`:                              "golang.org/x/crypto/ssh.Dial",
		`import "net/http/httputil"; var _ = &httputil.ReverseProxy{}`:                                       "net/http/httputil.ReverseProxy without its own Transport",
		`import "github.com/byway-proxy/byway/internal/testnet"; var _ = testnet.New`:                        "internal/testnet imported",
		`import "syscall"; var _, _ = syscall.Socket(0, 0, 0)`:                                               "syscall.Socket",
		`import "github.com/armon/go-socks5"; var _, _ = socks5.New(nil)`:                                    "github.com/armon/go-socks5.New",
		`import "github.com/caddyserver/certmagic"; var _ = certmagic.HTTPS(nil, nil)`:                       "github.com/caddyserver/certmagic.HTTPS",
		`import "golang.org/x/net/http2"; var _ = &http2.Transport{}`:                                        "golang.org/x/net/http2.Transport",
		`import "github.com/quic-go/quic-go"; var _, _ = quic.DialAddr(nil, "", nil, nil)`:                   "github.com/quic-go/quic-go.DialAddr",
		`import "net"; var _ net.Conn; import "net/http"; var _ http.Header; func f() { _ = http.Header{} }`: "",
	} {
		var got []string
		for _, f := range look(t, "code.go", []byte("package p; "+code)) {
			got = append(got, strings.Split(f, " at ")[0])
		}
		if want == "" && len(got) > 0 || want != "" && !slices.Contains(got, want) {
			t.Errorf("%s: found %q, want %q", code, got, want)
		}
	}
}

// look returns what a file reaches out by, each with its line: "net.Dial at 12".
func look(t *testing.T, path string, src []byte) (found []string) {
	t.Helper()
	files := token.NewFileSet()
	var from any
	if src != nil {
		from = src
	}
	f, err := parser.ParseFile(files, path, from, parser.SkipObjectResolution|parser.AllErrors)
	if f == nil || err != nil && src == nil {
		t.Fatal(err)
	}
	say := func(n ast.Node, format string, args ...any) {
		found = append(found, fmt.Sprintf(format, args...)+fmt.Sprintf(" at %d", files.Position(n.Pos()).Line))
	}
	names := make(map[string]string)
	for _, imp := range f.Imports {
		of, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(never, of) || slices.Contains(ofTests, strings.TrimPrefix(of, module+"/")) {
			say(imp, "%s imported", strings.TrimPrefix(of, module+"/"))
		}
		if imp.Name == nil {
			names[nameOf(of)] = of
			continue
		}
		if imp.Name.Name == "." && reaches[of] != nil {
			say(imp, "%s imported by a dot", of)
		}
		names[imp.Name.Name] = of
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if of := qualified(n, names); of != "" {
				say(n, "%s", of)
			} else if strings.HasPrefix(n.Sel.Name, "ListenAndServe") {
				say(n, "a call of %s", n.Sel.Name)
			}
		case *ast.CompositeLit:
			if lacks := lacking(n, names); lacks != "" {
				say(n, "%s", lacks)
			}
		}
		return true
	})
	return found
}

// nameOf is the name of a package that is imported without one.
func nameOf(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	return strings.TrimSuffix(strings.TrimPrefix(name, "go-"), "-go")
}

// qualified returns the path and name of what s selects from a package, if it reaches out.
func qualified(s *ast.SelectorExpr, names map[string]string) string {
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return ""
	}
	of := names[x.Name]
	if re := reaches[of]; re == nil || !re.MatchString(s.Sel.Name) {
		return ""
	}
	return of + "." + s.Sel.Name
}

// lacking tells what a literal leaves to a default that dials by itself.
func lacking(l *ast.CompositeLit, names map[string]string) string {
	s, ok := l.Type.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	var needs, lack string
	of := qualified(s, names)
	switch of {
	case "net/http.Transport":
		needs, lack = "DialContext", "a dialer of its own"
	case "net/http.Client", "net/http/httputil.ReverseProxy":
		needs, lack = "Transport", "its own Transport"
	default:
		return ""
	}
	for _, e := range l.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if k, ok := kv.Key.(*ast.Ident); ok && k.Name == needs {
				return ""
			}
		}
	}
	return of + " without " + lack
}
