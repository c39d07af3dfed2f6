package configs

import (
	"net/netip"
	"time"
)

// Route is a rule: where the requests go that it fits.
type Route struct {
	To string `toml:"to,required"` // the name of a chain or group, Direct or Block

	// Answer is what is said to a client that is blocked; default AnswerRefuse.
	Answer Answer `toml:"block"`

	Match // the rule fits requests that meet these conditions; without any, all

	// Lookup is the chain or group at whose far end names are resolved for the conditions
	// that are about addresses; "" for nobody.
	Lookup string `toml:"lookup"`

	// Not takes requests out again that meet all conditions of one of these. They have
	// the route's timezone unless they name one.
	Not []Match `toml:"not,single"`
}

func (r *Route) setDefaults() { r.Answer = AnswerRefuse }

// An Answer is what a client gets whose request is blocked.
type Answer string

// The values of Answer.
const (
	AnswerRefuse Answer = "refuse" // at once, in the protocol's words
	AnswerDrop   Answer = "drop"   // silence, until the dial limit has passed
	AnswerPage   Answer = "page"   // for plain HTTP a page that names the rule, for all else as AnswerRefuse
)

// Match is conditions. Each key that is there must be met, by one of its values.
type Match struct {
	// The target. Names don't meet CIDRs or Countries: they are not looked up.
	Domains   []string       `toml:"domain,single"`  // patterns; package route knows their forms
	Lists     []string       `toml:"list,single"`    // names of Client.Lists
	CIDRs     []netip.Prefix `toml:"cidr,single"`    // of targets that are given as addresses
	Countries []Country      `toml:"country,single"` // of the same, by Geo
	Ports     []PortRange    `toml:"port,single"`
	Network   Network        `toml:"network"` // "" for both

	// Who asks.
	Listeners []string       `toml:"listener,single"` // addresses of Client.Listeners, as they stand there
	Users     []string       `toml:"user,single"`
	Clients   []netip.Prefix `toml:"client,single"`

	// When.
	Times    []DaySpan `toml:"time,single"`
	Weekdays []Days    `toml:"weekday,single"` // on which a time begins
	Timezone string    `toml:"timezone"`       // of the IANA database; "" for the system's
}

// Location returns Timezone, or nil for the system's.
func (m *Match) Location() *time.Location {
	if m.Timezone == "" {
		return nil
	}
	zone, err := time.LoadLocation(m.Timezone)
	if err != nil {
		return nil // it was checked
	}
	return zone
}

// A PortRange is from one port to another, both included.
type PortRange struct{ From, To uint16 }

// A DaySpan is from one minute of the day, counted from midnight, to before another,
// which is the next day's if it is not later.
type DaySpan struct{ From, To int }

// Days are some days of the week, by time.Weekday.
type Days [7]bool

// A Country is an ISO 3166-1 code in upper case.
type Country string

// A Share is a part of a whole, from 0 to 1.
type Share float64

// List is a list of names and addresses that rules refer to.
type List struct {
	Name string `toml:"name,required"` // unique
	File string `toml:"file,path"`     // where it is; with URL, where it is kept. Default with URL: in the user's cache

	// Subdomains has plain names stand for all below them, too; default false.
	Subdomains bool `toml:"subdomains"`

	// A list from a URL: fetched by way of Via, a chain's name or Direct.
	URL       WebURL        `toml:"url"`
	Via       string        `toml:"via"`
	Interval  time.Duration `toml:"interval"`   // default 24h
	SHA256    SHA256        `toml:"sha256"`     // of the whole list; nil for any
	Minisign  string        `toml:"minisign"`   // public key; the signature is at URL with ".minisig" behind it
	MaxShrink Share         `toml:"max_shrink"` // by which a new version may be shorter; default 0.5
}

func (l *List) setDefaults() { l.Interval, l.MaxShrink = 24*time.Hour, 0.5 }

// A WebURL is an http or https URL without credentials.
type WebURL string

// Geo is what is known of addresses.
type Geo struct {
	Database string `toml:"database,path"` // countries, in MaxMind's format (mmdb)
}
