package configs

import (
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// Egress is the file of the companion on the server. Paths in it are ready to
// open: what was relative starts at the folder of the file.
type Egress struct {
	Listeners    []EgressListener `toml:"listen,required"` // exactly one, for now
	TLS          EgressTLS        `toml:"tls"`
	Sites        []Site           `toml:"site,required"`
	Geo          Geo              `toml:"geo"`
	Users        []EgressUser     `toml:"user"` // at least one, save for the website alone, or with a store: never an open proxy
	Store        EgressStore      `toml:"store"`
	Line         Line             `toml:"line"`
	Control      Control          `toml:"control"`
	Destinations Destinations     `toml:"destinations"`
	Timeouts     Timeouts         `toml:"timeouts"`
	HTTP2        HTTP2            `toml:"http2"`
	ECH          EgressECH        `toml:"ech"`
	UDP          EgressUDP        `toml:"udp"`

	front  bool // for the website alone
	report reporter
}

// EgressListener is one address that the website and the proxy are served on.
type EgressListener struct {
	Address string `toml:"address,required"` // host:port; port 0 takes any that is free
	Plain   bool   `toml:"plain"`            // HTTP without TLS; of "byway front" alone
	HTTP3   bool   `toml:"http3"`            // HTTP/3 on the same port of UDP; default true

	// HTTP3Datagrams offers datagrams to all clients on HTTP/3, before they have shown a
	// credential; default false.
	HTTP3Datagrams bool `toml:"http3_datagrams"`

	// HTTPPort is a port of the same host where HTTP in the clear is sent to https, and the questions
	// of an ACME authority are answered; 0 for none.
	HTTPPort uint16 `toml:"http_port"`
}

func (l *EgressListener) setDefaults() { l.HTTP3 = true }

// EgressTLS names the certificate, or says what to make one for.
type EgressTLS struct {
	Certificate string `toml:"certificate,path"` // PEM file; goes with Key
	Key         string `toml:"key,path"`         // PEM file; goes with Certificate

	// Names are the DNS names and IP addresses of the certificate that is made or asked for
	// when there is none: at least one then, and none otherwise.
	Names []string `toml:"names"`

	// State is the folder where that certificate and its key are kept. It is
	// "state" beside the file by default, and empty if Certificate is given.
	State string `toml:"state,path"`

	// ACME is the authority that is asked for it; with none, it is made on the spot.
	ACME EgressACME `toml:"acme"`
}

// EgressECH lets clients hide the name that they ask for (Encrypted Client Hello).
type EgressECH struct {
	Name   string        `toml:"name"`       // what those on the way see instead; "" for none of it
	State  string        `toml:"state,path"` // folder of the keys; default "ech" beside the file
	Rotate time.Duration `toml:"rotate"`     // a new key after so long; default 720h
}

func (e *EgressECH) check(d *decoder) {
	if e.Name != "" && (!isHost(e.Name) || strings.Contains(e.Name, "*") || isAddr(e.Name)) {
		d.fail("ech.name", `%q is no DNS name; write it like "www.example.org"`, e.Name)
	}
	if e.State == "" {
		e.State = filepath.Join(d.dir, "ech")
	}
	if !d.failed["ech.rotate"] && e.Rotate < time.Hour {
		d.fail("ech.rotate", `is too short; give "1h" or more`)
	}
}

// EgressUDP is about flows of datagrams to targets (CONNECT-UDP).
type EgressUDP struct {
	Idle         time.Duration `toml:"idle"`           // a flow without a datagram in either direction; default 1m
	FlowsPerUser int           `toml:"flows_per_user"` // at a time, at least 1; default 1,024
}

// HTTP2 says how much those who have shown a credential may send ahead of their
// targets: 64 KiB <= StreamWindow <= SessionWindow <= 1 GiB.
type HTTP2 struct {
	StreamWindow  Size `toml:"stream_window"`  // default 24 MiB
	SessionWindow Size `toml:"session_window"` // default 32 MiB
	Budget        Size `toml:"budget"`         // of all sessions together; default 1 GiB, 0 for none

	// Padding takes NaiveProxy's padding from clients that offer it; default true.
	Padding bool `toml:"padding"`
}

// Destinations says what tunnels may lead to, beyond the refusal of
// special-purpose ranges that needs no configuration. The prefixes are masked,
// and none is IPv4 inside IPv6.
type Destinations struct {
	Allow     []netip.Prefix `toml:"allow"`      // exceptions from the special-purpose ranges
	Deny      []netip.Prefix `toml:"deny"`       // refused too
	DenyPorts []uint16       `toml:"deny_ports"` // default 25, 465, 587; an empty list denies none
}

func (e *Egress) setDefaults() {
	e.Timeouts = Timeouts{Handshake: time.Minute, Dial: 30 * time.Second, Idle: 10 * time.Minute, Drain: 30 * time.Second}
	e.Control.setDefaults()
	e.Destinations.DenyPorts = []uint16{25, 465, 587}
	e.ECH.Rotate = 720 * time.Hour
	e.UDP = EgressUDP{Idle: time.Minute, FlowsPerUser: 1024}
	e.HTTP2 = HTTP2{StreamWindow: 24 * MiB, SessionWindow: 32 * MiB, Budget: GiB, Padding: true}
}

// LoadEgress reads and parses the egress file at path. Its errors are [Errors].
func LoadEgress(path string) (*Egress, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return ParseEgress(path, data)
}

// LoadFront reads and parses the egress file at path for the website alone: users
// may be missing, listeners plain, and then tls may be missing, too. Its errors are [Errors].
func LoadFront(path string) (*Egress, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return ParseFront(path, data)
}

// ParseFront is [ParseEgress] for the website alone; see [LoadFront].
func ParseFront(name string, data []byte) (*Egress, error) { return parseEgress(name, data, true) }

// ParseEgress parses an egress file. Errors, which are [Errors], call it name,
// and relative paths in it start at name's folder. It reads the secrets.
func ParseEgress(name string, data []byte) (*Egress, error) { return parseEgress(name, data, false) }

func parseEgress(name string, data []byte, front bool) (*Egress, error) {
	e := &Egress{front: front}
	d, err := decode(name, data, e)
	if err != nil {
		return nil, err
	}
	e.report = d.source.errorf
	e.check(d)
	if err := d.err(); err != nil {
		return nil, err
	}
	return e, nil
}

// Errorf returns an error in the value at a path such as "user[1].name", or, if
// the file has no such key, in the nearest table above it. It is for those who
// build from e; format is that of fmt.Errorf, %w included, and should yield
// "what is wrong; what to do".
func (e *Egress) Errorf(path, format string, args ...any) *Error {
	return e.report.errorf(path, format, args...)
}
