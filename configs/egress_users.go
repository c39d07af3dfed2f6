package configs

import (
	"fmt"
	"path/filepath"
	"time"
)

// EgressUser is one who may use the egress, with a secret that the file names. Those
// without limits of their own are not limited.
type EgressUser struct {
	User
	Expires time.Time `toml:"expires"` // a stranger from then on; zero for never

	// Allow and Deny say where tunnels may lead; package egress knows the forms of their
	// elements. With any Allow, to nothing else.
	Allow []string `toml:"allow,single"`
	Deny  []string `toml:"deny,single"`

	Rate          Size `toml:"rate"`            // a second, up and down each; 0 for no limit, as below
	QuotaPerDay   Size `toml:"quota_per_day"`   // up and down together, days of UTC
	QuotaPerMonth Size `toml:"quota_per_month"` // likewise
	Tunnels       uint `toml:"tunnels"`         // at a time
	UDPFlows      uint `toml:"udp_flows"`       // at a time
}

// EgressStore is where users that commands make, and the usage of all, are kept.
type EgressStore struct {
	File string `toml:"file,path"` // "" if there is no store; default "state/users.db" beside the file
}

// Line is the capacity of the server's network, to be shared fairly between users.
type Line struct {
	Rate Size `toml:"rate"` // a second, up and down each; 0 if it is not known
}

func (e *Egress) checkUsers(d *decoder) {
	names := elements(e.Users, func(u EgressUser) string { return u.Name })
	d.users("user", names)
	for i, u := range e.Users {
		if path := join(at("user", i), "rate"); !d.failed[path] && d.has(path) && u.Rate < KiB {
			d.fail(path, `would let nothing through; leave it out for no limit, or remove the user`)
		}
	}
	if d.has("store") && e.Store.File == "" && !d.failed["store.file"] {
		e.Store.File = filepath.Join(d.dir, "state", "users.db")
	}
	switch {
	case !e.Control.Serve && d.has("control.socket"):
		d.fail("control.socket", "stands beside serve = false; remove one of the two")
	case e.Control.Serve && e.Control.Socket == "" && e.Store.File != "":
		e.Control.Socket = filepath.Join(filepath.Dir(e.Store.File), "control.sock")
	}
}

// ParseTime parses a time as a file writes it: a day of UTC, such as "2027-01-31", which
// begins then, or RFC 3339.
func ParseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf(`%q is not a time; write it like "2027-01-31" or "2027-01-31T18:00:00Z"`, s)
}

func parseTime(s string) (any, error) {
	t, err := ParseTime(s)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// ParseSize parses a size as a file writes it, such as "16MiB".
func ParseSize(s string) (Size, error) {
	v, err := parseSize(s)
	if err != nil {
		return 0, err
	}
	return v.(Size), nil
}
