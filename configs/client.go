package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Client is the file of the local side. Paths in it are ready to open: what was
// relative starts at the folder of the file.
type Client struct {
	Listeners []Listener     `toml:"listen"`
	Forwards  []Forward      `toml:"forward"` // there is a Listener, a Forward or a DNS
	DNS       []DNS          `toml:"dns"`
	Resolve   Resolve        `toml:"resolve"`
	Hops      []Hop          `toml:"hop"`
	Chains    []Chain        `toml:"chain"`
	Groups    []Group        `toml:"group"`
	Routes    []Route        `toml:"route"` // the first that fits wins; none: everything is blocked
	Lists     []List         `toml:"list"`
	Geo       Geo            `toml:"geo"`
	Timeouts  ClientTimeouts `toml:"timeouts"`
	Limits    Limits         `toml:"limits"`
	Control   Control        `toml:"control"`
	Reload    Reload         `toml:"reload"`
	Status    StatusPage     `toml:"status"`

	report reporter
	files  []string
}

// Files returns the paths of the file that c was loaded from and of those that are read along with
// it: secrets, keys, certificates, lists.
func (c *Client) Files() []string {
	written := []string{c.Control.Socket}
	for i := range c.Lists {
		if c.Lists[i].URL != "" {
			written = append(written, c.Lists[i].File) // by us
		}
	}
	return slices.DeleteFunc(slices.Clone(c.files), func(path string) bool { return slices.Contains(written, path) })
}

// Reload says when the file is read again, besides when that is asked for.
type Reload struct {
	Watch bool `toml:"watch"` // when it has changed, or a file that is read along with it; default false
}

// Listener is one address that takes SOCKS and HTTP proxy requests.
type Listener struct {
	Address string  `toml:"address,required"` // host:port, where port 0 takes any that is free, or unix:/path
	Open    bool    `toml:"open"`             // serve beyond this user's reach without Users; default false
	Users   []Login `toml:"user"`             // none: no credentials are asked for

	TLS ListenerTLS `toml:"tls"` // without it, clients come in the clear

	// EarlyReply tells clients yes before the tunnel is open; default false.
	EarlyReply bool `toml:"early_reply"`

	// Isolate is in what the tunnels that share anything are alike. Default: listener,
	// user and client.
	Isolate []Part `toml:"isolate"`

	// ProxyProtocol is whose connections begin with a header of the PROXY protocol; of
	// no use to a unix socket.
	ProxyProtocol []netip.Prefix `toml:"proxy_protocol"`

	// Of a unix socket, and nil or of no use elsewhere.
	Mode      fs.FileMode `toml:"mode"`       // permission bits; default 0600
	AllowUIDs []int       `toml:"allow_uids"` // who may connect, besides what Mode says; see [Listener.UIDs]
}

func (l *Listener) setDefaults() {
	l.Isolate, l.Mode = []Part{PartListener, PartUser, PartClient}, 0o600
}

// ListenerTLS makes a listener take TLS, and nothing else. Its zero value does not.
type ListenerTLS struct {
	Certificate string `toml:"certificate,required,path"` // PEM file, the chain behind the certificate
	Key         string `toml:"key,required,path"`         // PEM file
}

// Login is one who may use a listener. It has a Secret or a PasswordHash.
type Login struct {
	Name         string        `toml:"name,required"`
	Secret       Secret        `toml:"secret"`
	PasswordHash *PasswordHash `toml:"password_hash"`
}

// User is one who may use the egress.
type User struct {
	Name   string `toml:"name,required"`
	Secret Secret `toml:"secret,required"`
}

// Hop is one upstream proxy.
type Hop struct {
	Name string `toml:"name,required"` // unique

	// URL has one of the schemes in HopSchemes, a host, a port from 1 to 65535
	// or none (defaults are not filled in), and nothing else: userinfo in the
	// file has been moved to User and Secret. With "+unix" in the scheme it has a
	// path in place of host and port.
	URL *url.URL `toml:"url,required"`

	User   string `toml:"user"`   // for socks4 and socks4a, the userid
	Secret Secret `toml:"secret"` // with User only

	Pipeline         Pipeline      `toml:"pipeline"`          // default PipelineAuto; of use to socks5 and socks5h
	Padding          bool          `toml:"padding"`           // the first bytes of tunnels, as NaiveProxy does; of use to https
	DialTimeout      time.Duration `toml:"dial_timeout"`      // reaching the hop; default 10s
	HandshakeTimeout time.Duration `toml:"handshake_timeout"` // TLS and the proxy's protocol; default 10s
	HTTP3            bool          `toml:"http3"`             // HTTP/3 races HTTP/2; of use to https
	TLS              HopTLS        `toml:"tls"`               // of use to https and h3
	SSH              HopSSH        `toml:"ssh"`               // of use to ssh

	// How this machine reaches the hop, which then stands first in its chains.
	Interface     string     `toml:"interface"`      // name of a network interface; "" leaves it to the system
	Source        netip.Addr `toml:"source"`         // an address of this machine; the zero Addr leaves it to the system
	Mark          uint32     `toml:"mark"`           // of packets, for the firewall; 0 for none
	TCPCongestion string     `toml:"tcp_congestion"` // name of a congestion control; "" for the system's
}

// OverUnix reports whether the hop is reached by a unix socket, whose path is that of the URL.
func (h *Hop) OverUnix() bool { return h.URL != nil && strings.HasSuffix(h.URL.Scheme, unixSuffix) }

const unixSuffix = "+unix"

func (h *Hop) setDefaults() {
	h.Pipeline = PipelineAuto
	h.DialTimeout, h.HandshakeTimeout = 10*time.Second, 10*time.Second
}

// HopTLS says how a hop proves itself and how we prove ourselves to it. The
// zero value means the system's roots, the URL's host, and no client certificate.
type HopTLS struct {
	ServerName  string `toml:"server_name"`      // default: the URL's host
	CA          string `toml:"ca,path"`          // PEM file of roots to trust instead of the system's
	Pins        []Pin  `toml:"pin,single"`       // one of them must be a key of the hop's certificate
	Certificate string `toml:"certificate,path"` // PEM file; goes with Key
	Key         string `toml:"key,path"`         // PEM file; goes with Certificate

	ECH ECHConfigList `toml:"ech"` // hides the server name; nil sends it in the clear
}

// HopSSH says how the server of an ssh hop proves itself, by KnownHosts or Pins or
// both, and how we log in, by Keys, Agent or the hop's Secret.
type HopSSH struct {
	KnownHosts string       `toml:"known_hosts,path"` // file in OpenSSH's format
	Pins       []HostKeyPin `toml:"pin,single"`       // one of them must be that of the server's key
	Keys       []string     `toml:"key,path,single"`  // files with private keys
	Passphrase Secret       `toml:"passphrase"`       // of those keys that are locked
	Agent      bool         `toml:"agent"`            // ask the agent at SSH_AUTH_SOCK; default false
}

// Chain is a way through hops, the nearest first.
type Chain struct {
	Name string   `toml:"name,required"` // unique among hops, chains and groups; neither Direct nor Block
	Hops []string `toml:"hops,required"` // at least one; names of hops, groups and other chains

	Mode  Mode  `toml:"mode"`  // default ModeStrict
	Least uint8 `toml:"least"` // of ModeDynamic: how many hops a tunnel passes at least; default 1
	Draw  uint8 `toml:"draw"`  // of ModeRandom, which needs it: how many hops a tunnel passes
	Per   Per   `toml:"per"`   // of ModeRandom; default PerTunnel

	// Spares is how many tunnels to the last hop are kept ready at most, while the
	// chain is in use; 0 for none. Default 8. In a group at the end it is for the last hop
	// of each member, save for chains, which have their own.
	Spares uint8 `toml:"spares"`

	// DNS is host:port of a DNS server that is asked, through the chain and by TCP, for
	// names that a program wants resolved and the last hop can't; "" for none.
	DNS string `toml:"dns"`
}

func (ch *Chain) setDefaults() { ch.Mode, ch.Least, ch.Per, ch.Spares = ModeStrict, 1, PerTunnel, 8 }

// What a route may lead to besides a chain or a group.
const (
	Direct = "direct" // out from here, through no hop
	Block  = "block"  // refused
)

// ClientTimeouts are all more than zero.
type ClientTimeouts struct {
	Handshake time.Duration `toml:"handshake"` // a program's greeting and request; default 10s
	Dial      time.Duration `toml:"dial"`      // opening a tunnel, all the way; default 30s
	Idle      time.Duration `toml:"idle"`      // a tunnel without a byte in either direction; default 10m
	UDPIdle   time.Duration `toml:"udp_idle"`  // a flow without a datagram in either direction; default 1m
	Drain     time.Duration `toml:"drain"`     // for live tunnels at shutdown; default 10s
}

// Control is how a running byway is told things, such as "byway newid".
type Control struct {
	Serve  bool   `toml:"serve"`       // default true
	Socket string `toml:"socket,path"` // "" leaves it to the program
}

func (c *Control) setDefaults() { c.Serve = true }

// Limits are how much there may be at a time. 0 leaves it to how many files the
// process may have open.
type Limits struct {
	Handshakes          uint `toml:"handshakes"`            // connections without a request so far
	HandshakesPerClient uint `toml:"handshakes_per_client"` // by address
	Tunnels             uint `toml:"tunnels"`               // and flows
	TunnelsPerClient    uint `toml:"tunnels_per_client"`    // by address

	UDPFlows               uint `toml:"udp_flows"`                 // of all associations; default 4096
	UDPFlowsPerAssociation uint `toml:"udp_flows_per_association"` // one for each target; default 256
}

// Timeouts are those of the egress, all more than zero.
type Timeouts struct {
	Handshake time.Duration `toml:"handshake"` // the client's greeting and request; default 10s
	Dial      time.Duration `toml:"dial"`      // opening a tunnel, all the way; default 30s
	Idle      time.Duration `toml:"idle"`      // a tunnel without a byte in either direction; default 10m
	Drain     time.Duration `toml:"drain"`     // for live tunnels at shutdown; default 30s
}

func (c *Client) setDefaults() {
	c.Timeouts = ClientTimeouts{
		Handshake: 10 * time.Second, Dial: 30 * time.Second,
		Idle: 10 * time.Minute, UDPIdle: time.Minute, Drain: 10 * time.Second,
	}
	c.Control.setDefaults()
	c.Limits = Limits{UDPFlows: 4096, UDPFlowsPerAssociation: 256}
}

// HopSchemes returns the URL schemes that a hop may have.
func HopSchemes() []string {
	return []string{
		"socks4", "socks4a", "socks5", "socks5h", "http", "https", "h3", "ssh",
		"socks4+unix", "socks4a+unix", "socks5+unix", "socks5h+unix", "http+unix",
	}
}

// LoadClient reads and parses the client file at path. Its errors are [Errors].
func LoadClient(path string) (*Client, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return ParseClient(path, data)
}

// ParseClient parses a client file. Errors, which are [Errors], call it name,
// and relative paths in it start at name's folder. It reads the secrets.
func ParseClient(name string, data []byte) (*Client, error) {
	c := &Client{}
	d, err := decode(name, data, c)
	if err != nil {
		return nil, err
	}
	c.report, c.files = d.source.errorf, append([]string{name}, d.files...)
	c.check(d)
	if err := d.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Errorf returns an error in the value at a path such as "hop[1].url", or, if
// the file has no such key, in the nearest table above it. It is for those who
// build from c; format is that of fmt.Errorf, %w included, and should yield
// "what is wrong; what to do".
func (c *Client) Errorf(path, format string, args ...any) *Error {
	return c.report.errorf(path, format, args...)
}

func read(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		return data, nil
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err // its text has the path once more
	}
	return nil, Errors{{File: path, Err: fmt.Errorf("cannot be read: %w; give the path of a configuration file", err)}}
}
