// Package layers checks who imports whom, as docs/architecture.md lays it down.
package layers

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/byway-proxy/byway"

// allowed lists what of ours each room may import; "*" stands for everything.
var allowed = map[string][]string{
	"chain":        {},
	"relay":        {"chain", "internal/deadline"},
	"socks":        {"chain", "relay", "internal/datagram", "internal/deadline"},
	"httpproxy":    {"chain", "relay", "internal/connectudp", "internal/deadline", "internal/dnsask", "internal/h2"},
	"masque":       {"chain", "relay", "httpproxy", "internal/connectudp", "internal/stream"},
	"hop":          {"chain", "socks", "httpproxy", "masque", "hop/ssh"},
	"hop/ssh":      {"chain", "internal/stream"},
	"route":        {"chain", "relay"},
	"local/lists":  {"chain", "route"},
	"local":        {"chain", "relay", "socks", "httpproxy", "hop", "hop/ssh", "route", "configs", "local/lists", "internal/datagram", "internal/eyeballs", "internal/deadline", "internal/dnsask", "internal/sockets", "internal/control", "internal/status", "local/users", "local/names"},
	"local/users":  {},
	"local/names":  {"chain", "relay", "internal/sockets"},
	"egress":       {"chain", "relay", "httpproxy", "internal/eyeballs", "masque", "hop", "route", "configs", "internal/dnsask", "internal/gauge", "internal/sockets", "internal/control", "egress/users", "egress/front", "egress/front/place", "egress/front/upstream"},
	"egress/users": {},
	"configs":      {},
	"cmd/byway":    {"*"},

	"egress/front":          {"egress/front/h1", "egress/front/upstream"},
	"egress/front/upstream": {"egress/front/h1", "egress/front/place"},
	"egress/front/place":    {},
	"egress/front/h1":       {},

	"internal/connectudp": {"internal/datagram", "internal/deadline"},
	"internal/deadline":   {},
	"internal/eyeballs":   {"chain"},
	"internal/sockets":    {},
	"internal/control":    {"internal/sockets"},
	"internal/h2":         {},
	"internal/stream":     {"internal/deadline"},
	"internal/datagram":   {"internal/deadline"},
	"internal/dnsask":     {"chain"},
	"internal/gauge":      {"chain"},
	"internal/status":     {"chain", "relay"},
	"internal/doctor":     {"chain", "httpproxy", "internal/dnsask", "internal/gauge"},
	"internal/testnet":    {"chain", "internal/datagram", "internal/deadline"},
	"internal/layers":     {},
	"internal/interop":    {},
	"internal/netlab":     {},
	"internal/probe":      {},
	"internal/leaks":      {},
	"internal/bench":      {"*"},
}

// outside lists the modules beyond the standard library that a room may import.
// A room that is not here may import none.
var outside = map[string][]string{
	"internal/dnsask": {"golang.org/x/net/dns/dnsmessage"},
	"local":           {"github.com/pires/go-proxyproto"},
	"local/users":     {"golang.org/x/crypto/argon2"},
	"local/names":     {"github.com/miekg/dns"},
	"local/lists":     {"golang.org/x/crypto/blake2b"},

	"egress":       {"golang.org/x/net/http2", "github.com/caddyserver/certmagic", "go.uber.org/zap"},
	"egress/users": {"go.etcd.io/bbolt", "go.etcd.io/bbolt/errors", "golang.org/x/time/rate"},
	"egress/front": {"golang.org/x/net/http/httpguts", "golang.org/x/net/http2", "github.com/andybalholm/brotli", "github.com/klauspost/compress/gzip", "github.com/klauspost/compress/zstd"},

	"socks":     {"github.com/armon/go-socks5"},
	"httpproxy": {"golang.org/x/net/http2", "github.com/dunglas/httpsfv"},
	"configs":   {"github.com/BurntSushi/toml"},
	"masque":    {"github.com/quic-go/quic-go", "github.com/quic-go/quic-go/http3", "golang.org/x/net/ipv4", "golang.org/x/time/rate"},
	"route":     {"golang.org/x/net/idna", "github.com/oschwald/maxminddb-golang/v2"},
	"hop":       {"golang.org/x/net/proxy"},
	"hop/ssh":   {"golang.org/x/crypto/ssh", "golang.org/x/crypto/ssh/agent", "golang.org/x/crypto/ssh/knownhosts"},

	"cmd/byway": {"charm.land/bubbletea/v2", "github.com/spf13/cobra", "github.com/lmittmann/tint", "golang.org/x/term", "rsc.io/qr"},

	"internal/status":  {"github.com/prometheus/client_golang/prometheus", "github.com/prometheus/client_golang/prometheus/collectors", "github.com/prometheus/client_golang/prometheus/promhttp"},
	"internal/h2":      {"golang.org/x/net/http2/hpack"},
	"internal/probe":   {"golang.org/x/net/http2/hpack"},
	"internal/netlab":  {"golang.org/x/sys/unix"},
	"internal/sockets": {"golang.org/x/sys/unix", "golang.org/x/net/ipv4", "golang.org/x/net/ipv6"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func TestLayers(t *testing.T) {
	seen := 0
	for _, p := range list(t) {
		room := strings.TrimPrefix(p.ImportPath, module+"/")
		may, ok := allowed[room]
		if !ok {
			t.Errorf("%s is no room of docs/architecture.md: put it there, and here", room)
			continue
		}
		seen++
		for _, imp := range p.Imports {
			if err := check(room, may, imp); err != "" {
				t.Error(err)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d rooms were looked at", seen)
	}
}

// TestLayersCatch makes sure that the check can fail.
func TestLayersCatch(t *testing.T) {
	for room, imp := range map[string]string{
		"chain":     module + "/relay",
		"relay":     module + "/socks",
		"socks":     module + "/httpproxy",
		"httpproxy": "github.com/spf13/cobra",
		"configs":   module + "/chain",
		"route":     "log/slog",
	} {
		if check(room, allowed[room], imp) == "" {
			t.Errorf("%s may import %s", room, imp)
		}
	}
}

func check(room string, may []string, imp string) string {
	ours, isOurs := strings.CutPrefix(imp, module+"/")
	switch {
	case isOurs && !slices.Contains(may, ours) && !slices.Contains(may, "*"):
		return room + " must not import " + ours
	case isOurs:
		return ""
	case imp == "log/slog" && !slices.Contains([]string{"cmd/byway", "local", "egress", "configs"}, room) && !strings.HasPrefix(room, "internal/"):
		return room + " must not log: it reports through relay.Trace"
	case strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") && !slices.Contains(outside[room], imp):
		return room + " must not import " + imp
	}
	return ""
}

// list returns the packages of the module, without their tests.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Standard", module+"/...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%v: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
