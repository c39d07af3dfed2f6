package configs

import (
	"crypto/sha256"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Every value of the schema, in many ways to write TOML.
const fullClient = `
listen = [
  { address = "127.0.0.1:1080" }, # one
  { address = ":1081", user = [
      { name = "alice", secret = { file = "pw" } },
      { name = "bob", secret.env = "BYWAY_TEST_SECRET" },
  ], isolate = ["target", "user"] },
  { address = "[2001:db8::1]:0", open = true },
]
chain = [{ name = "default", hops = ['e', "b"] }, { name = "x", hops = ["g1"], mode = "dynamic", least = 1, spares = 0 },
  { name = "y", hops = ["b", "f"], mode = "random", draw = 2, per = "identity" }]
route = [{ to = "default" }]
control.socket = "/run/byway.sock"
timeouts.handshake = "1s"
timeouts.dial = "1m30s"
"timeouts".'idle' = "2h"

[[hop]]
name = "a"
url = """
socks5h://alice:p%40ss@192.0.2.1:1080"""
pipeline = "off"
[[hop]]
"name" = "b"
url = "HTTPS://Paris.example.org/"
user = "alice"
secret = { file = 'pw' }
dial_timeout = "3s"
handshake_timeout = "4s"
tls = { server_name = "x", ca = "ca.pem", certificate = "/c.pem", key = "k/k.pem", pin = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }
[[hop]]
name = "c"
url = "socks4://192.0.2.2"
user = "bob"
interface = "eth1"
source = "192.0.2.7"
mark = 0x33
tcp_congestion = "bbr"
[[hop]]
name = "d"
url = "ssh://alice@192.0.2.3"
secret = { file = "pw" }
[hop.ssh]
known_hosts = "known"
pin = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
key = ["k1", "/k2"]
passphrase = { file = "pw" }
agent = true
[[hop]]
name = "e"
url = "socks5+unix://alice:hunter2@/run/x%20y.sock"
[[hop]]
name = "f"
url = "https://192.0.2.4"
tls.ech = "AAYBAgMEBQY="
[[group]]
name = "g1"
members = ["b", "y", "g2"]
[[group]]
name = "g2"
members = ["b", "f"]
strategy = "sticky"
weights = [65_535, 1]
by = "user"
[group.probe]
target = "https://example.org:8443/x?y"
status = 204
interval = "5m"
[[group]]
name = "g3"
members = ["f"]
strategy = "fastest"
tolerance = "1s"
probe = { target = "[2001:db8::1]:443", timeout = "1s" }
`

var ignoreSource = cmp.Options{cmpopts.IgnoreUnexported(Client{}, Egress{}), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})}

func TestFullClient(t *testing.T) {
	t.Setenv("BYWAY_TEST_SECRET", " from env ")
	dir := folder(t, map[string]string{"pw": "hunter2\r\n", "byway.toml": fullClient})
	got, err := LoadClient(filepath.Join(dir, "byway.toml"))
	if err != nil {
		t.Fatal(err)
	}
	hunter, apart := NewSecret("hunter2"), []Part{PartListener, PartUser, PartClient}
	want := &Client{
		Listeners: []Listener{
			{Address: "127.0.0.1:1080", Mode: 0o600, Isolate: apart},
			{Address: ":1081", Users: []Login{{Name: "alice", Secret: hunter}, {Name: "bob", Secret: NewSecret(" from env ")}}, Mode: 0o600, Isolate: []Part{PartTarget, PartUser}},
			{Address: "[2001:db8::1]:0", Open: true, Mode: 0o600, Isolate: apart},
		},
		Hops: []Hop{
			{
				Name: "a", URL: &url.URL{Scheme: "socks5h", Host: "192.0.2.1:1080"}, User: "alice", Secret: NewSecret("p@ss"),
				Pipeline: PipelineOff, DialTimeout: 10 * time.Second, HandshakeTimeout: 10 * time.Second,
			},
			{
				Name: "b", URL: &url.URL{Scheme: "https", Host: "Paris.example.org"}, User: "alice", Secret: hunter,
				Pipeline: PipelineAuto, DialTimeout: 3 * time.Second, HandshakeTimeout: 4 * time.Second,
				TLS: HopTLS{
					ServerName: "x", CA: filepath.Join(dir, "ca.pem"), Pins: []Pin{sha256.Sum256(nil)},
					Certificate: "/c.pem", Key: filepath.Join(dir, "k", "k.pem"),
				},
			},
			{
				Name: "c", URL: &url.URL{Scheme: "socks4", Host: "192.0.2.2"}, User: "bob",
				Pipeline: PipelineAuto, DialTimeout: 10 * time.Second, HandshakeTimeout: 10 * time.Second,
				Interface: "eth1", Source: netip.MustParseAddr("192.0.2.7"), Mark: 51, TCPCongestion: "bbr",
			},
			{
				Name: "d", URL: &url.URL{Scheme: "ssh", Host: "192.0.2.3"}, User: "alice", Secret: hunter,
				Pipeline: PipelineAuto, DialTimeout: 10 * time.Second, HandshakeTimeout: 10 * time.Second,
				SSH: HopSSH{
					KnownHosts: filepath.Join(dir, "known"), Pins: []HostKeyPin{"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"},
					Keys: []string{filepath.Join(dir, "k1"), "/k2"}, Passphrase: hunter, Agent: true,
				},
			},
			{
				Name: "e", URL: &url.URL{Scheme: "socks5+unix", Path: "/run/x y.sock"}, User: "alice", Secret: hunter,
				Pipeline: PipelineAuto, DialTimeout: 10 * time.Second, HandshakeTimeout: 10 * time.Second,
			},
			{
				Name: "f", URL: &url.URL{Scheme: "https", Host: "192.0.2.4"}, TLS: HopTLS{ECH: ECHConfigList{0, 6, 1, 2, 3, 4, 5, 6}},
				Pipeline: PipelineAuto, DialTimeout: 10 * time.Second, HandshakeTimeout: 10 * time.Second,
			},
		},
		Chains: []Chain{
			{Name: "default", Hops: []string{"e", "b"}, Mode: ModeStrict, Least: 1, Per: PerTunnel, Spares: 8},
			{Name: "x", Hops: []string{"g1"}, Mode: ModeDynamic, Least: 1, Per: PerTunnel},
			{Name: "y", Hops: []string{"b", "f"}, Mode: ModeRandom, Least: 1, Draw: 2, Per: PerIdentity, Spares: 8},
		},
		Groups: []Group{
			{Name: "g1", Members: []string{"b", "y", "g2"}, Strategy: StrategyFirst, By: ByTarget, Tolerance: 50 * time.Millisecond},
			{
				Name: "g2", Members: []string{"b", "f"}, Strategy: StrategySticky, Weights: []Weight{65535, 1}, By: ByUser, Tolerance: 50 * time.Millisecond,
				Probe: Probe{"https://example.org:8443/x?y", 204, 5 * time.Minute, 10 * time.Second},
			},
			{
				Name: "g3", Members: []string{"f"}, Strategy: StrategyFastest, By: ByTarget, Tolerance: time.Second,
				Probe: Probe{"[2001:db8::1]:443", 0, time.Minute, time.Second},
			},
		},
		Routes:   []Route{{To: "default", Answer: AnswerRefuse}},
		Timeouts: ClientTimeouts{time.Second, 90 * time.Second, 2 * time.Hour, time.Minute, 10 * time.Second},
		Limits:   Limits{UDPFlows: 4096, UDPFlowsPerAssociation: 256},
		Control:  Control{true, "/run/byway.sock"},
	}
	if diff := cmp.Diff(want, got, ignoreSource); diff != "" {
		t.Error(diff)
	}
	again, err := ParseClient(filepath.Join(dir, "byway.toml"), []byte(crlf(fullClient)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again, ignoreSource); diff != "" {
		t.Errorf("with CRLF: %s", diff)
	}
	if pin := got.Hops[1].TLS.Pins[0].String(); !strings.Contains(fullClient, `"`+pin+`"`) {
		t.Errorf("a pin prints as %q", pin)
	}
}

const fullEgress = `
[[listen]]
address = "[::]:443"
http3 = false
http3_datagrams = true
[tls]
certificate = "cert.pem"
key = "key.pem"
[[site]]
upstream = "http://127.0.0.1:8080/base"
[[user]]
name = "alice"
secret = { file = "pw" }
[destinations]
allow = ["10.1.0.0/16", "10.2.3.4", "fd00::1", "fd00::/8"]
deny = ["203.0.113.0/24"]
deny_ports = []
[timeouts]
handshake = "1s"
dial = "2s"
idle = "3s"
drain = "4s"
[http2]
stream_window = "64KiB"
session_window = "2MiB"
budget = "1GiB"
[udp]
idle = "5s"
flows_per_user = 7
`

func TestFullEgress(t *testing.T) {
	dir := folder(t, map[string]string{"pw": "hunter2", "egress.toml": fullEgress})
	got, err := LoadEgress(filepath.Join(dir, "egress.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var answer SiteAnswer
	answer.setDefaults()
	answer.Upstreams = []Upstream{{URL: &url.URL{Scheme: "http", Host: "127.0.0.1:8080", Path: "/base"}, Weight: 1}}
	want := &Egress{
		Listeners: []EgressListener{{Address: "[::]:443", HTTP3Datagrams: true}},
		TLS:       EgressTLS{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")},
		Sites:     []Site{{SiteAnswer: answer}},
		Users:     []EgressUser{{User: User{"alice", NewSecret("hunter2")}}},
		Control:   Control{Serve: true},
		Destinations: Destinations{
			Allow: []netip.Prefix{
				netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.2.3.4/32"),
				netip.MustParsePrefix("fd00::1/128"), netip.MustParsePrefix("fd00::/8"),
			},
			Deny:      []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
			DenyPorts: []uint16{},
		},
		Timeouts: Timeouts{time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second},
		HTTP2:    HTTP2{64 * KiB, 2 * MiB, GiB, true},
		ECH:      EgressECH{State: filepath.Join(dir, "ech"), Rotate: 720 * time.Hour},
		UDP:      EgressUDP{5 * time.Second, 7},
	}
	if diff := cmp.Diff(want, got, ignoreSource); diff != "" {
		t.Error(diff)
	}
}

func TestNothingRoutedIsLegal(t *testing.T) {
	c, err := ParseClient("byway.toml", []byte("[[listen]]\naddress = \"localhost:1080\""))
	if err != nil || len(c.Routes) != 0 || len(c.Chains) != 0 {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestDefaults(t *testing.T) {
	dir := secrets(t)
	const text = `listen = [{ address = ":443" }]
user = [{ name = "a", secret = { file = "pw" } }]
site = [{ root = "site" }]
tls.names = ["a.example"]`
	e, err := ParseEgress(filepath.Join(dir, "egress.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "state"); e.TLS.State != want {
		t.Errorf("state is %q, want %q", e.TLS.State, want)
	}
	if want := []uint16{25, 465, 587}; !cmp.Equal(e.Destinations.DenyPorts, want) {
		t.Errorf("deny_ports is %v, want %v", e.Destinations.DenyPorts, want)
	}
	if want := (Timeouts{time.Minute, 30 * time.Second, 10 * time.Minute, 30 * time.Second}); e.Timeouts != want {
		t.Errorf("timeouts are %v, want %v", e.Timeouts, want)
	}
}

func TestSecretTooLong(t *testing.T) {
	dir := folder(t, map[string]string{"pw": strings.Repeat("x", longestFile+1)})
	text := "listen = [{ address = '127.0.0.1:0', user = [{ name = 'a', secret = { file = 'pw' } }] }]"
	_, err := ParseClient(filepath.Join(dir, "byway.toml"), []byte(text))
	wantErrors(t, dir, err, `byway.toml:1:78: listen[0].user "a": secret.file: pw: has more than 65536 bytes; `+
		`put the secret into that file or correct the path`)
}

func TestHopSchemesAreTheCallersOwn(t *testing.T) {
	HopSchemes()[0] = "gopher"
	if HopSchemes()[0] == "gopher" {
		t.Error("the list is shared")
	}
}
